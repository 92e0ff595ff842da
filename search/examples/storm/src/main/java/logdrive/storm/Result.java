package logdrive.storm;

import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.annotation.JsonPropertyOrder;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.Map;

/**
 * What one record of the topic of results says: how many errors a host has had in a minute, so far. The last one of a host and
 * minute is the one that holds.
 *
 * @param host the host
 * @param minute in UTC, such as {@code 2026-01-02T03:04Z}
 * @param errors how many different errors, in all
 * @param repeats how often one came again that was already counted
 * @param counted the errors that are new in this record, by their names: the positions of each life. All records of a host
 *     and minute together name all that were counted, which is how a restarted counter knows them
 */
@JsonPropertyOrder({"host", "minute", "errors", "repeats", "counted"})
record Result(
        @JsonProperty("host") String host,
        @JsonProperty("minute") String minute,
        @JsonProperty("errors") long errors,
        @JsonProperty("repeats") long repeats,
        @JsonProperty("counted") Map<String, long[]> counted) {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final DateTimeFormatter MINUTE =
            DateTimeFormatter.ofPattern("uuuu-MM-dd'T'HH:mmX").withZone(ZoneOffset.UTC);

    static String minuteName(long minute) {
        return MINUTE.format(Instant.ofEpochSecond(minute * 60));
    }

    long minuteNumber() {
        return Instant.from(MINUTE.parse(minute)).getEpochSecond() / 60;
    }

    /** One key for each host and minute, so that its records are in one partition and the last one is known. */
    String key() {
        return host + " " + minute;
    }

    byte[] toJson() {
        try {
            return JSON.writeValueAsBytes(this);
        } catch (JsonProcessingException e) {
            throw new IllegalStateException("strings and numbers are always JSON", e);
        }
    }

    static Result fromJson(byte[] json) throws IOException {
        if (json == null) {
            throw new IOException("a record without a value");
        }
        return JSON.readValue(json, Result.class);
    }
}
