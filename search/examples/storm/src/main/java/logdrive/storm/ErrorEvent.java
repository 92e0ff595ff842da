package logdrive.storm;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.charset.StandardCharsets;
import java.util.Optional;
import java.util.OptionalLong;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.header.Header;

/**
 * An error that a record reports: where, when, and a name for it that is the same however often it comes.
 *
 * <p>The name is {@code life} and {@code position}. With the agent's headers they are its generation (one life of one file)
 * and the byte at which the line begins there: the same for a record that the agent sends again. Without headers they are
 * the partition and the record's offset in Kafka: the same only for a record that is read again.
 *
 * @param host the host that the line is from
 * @param minute minutes since the epoch
 * @param life what {@code position} counts in
 * @param position which of the events in {@code life} it is
 */
record ErrorEvent(String host, long minute, String life, long position) {
    private static final ObjectMapper JSON = new ObjectMapper();

    /** Only the agent's own documents have this name (and whoever imitates them). */
    private static final String PATH = "\"log.file.path\":";

    /** Reads a record of the agent, raw or ECS, with headers or without. Empty if it is no error; it never throws. */
    static Optional<ErrorEvent> in(ConsumerRecord<byte[], byte[]> record) {
        if (record.value() == null) {
            return Optional.empty(); // Not the agent's: an empty line is an empty value.
        }
        String message = new String(record.value(), StandardCharsets.UTF_8);
        JsonNode document = documentIn(message);
        if (document != null) {
            message = document.path("message").asText();
        }
        LogLine line = LogLine.of(message);
        if (!line.error()) {
            return Optional.empty();
        }
        String host = hostOf(record, document);
        long minute = minuteOf(record, document, line);
        String generation = header(record, "generation");
        OptionalLong offset = number(header(record, "offset"));
        // Sixteen hexadecimal digits and a partition's name, which ends with a dash and a number, are never the same.
        return Optional.of(generation != null && offset.isPresent()
                ? new ErrorEvent(host, minute, generation, offset.getAsLong())
                : new ErrorEvent(host, minute, record.topic() + "-" + record.partition(), record.offset()));
    }

    private static JsonNode documentIn(String value) {
        if (!value.startsWith("{") || !value.contains(PATH)) {
            return null;
        }
        try {
            return JSON.readTree(value);
        } catch (JsonProcessingException e) {
            return null;
        }
    }

    /** From the header, the document, or the key {@code host:path}, in which the path begins with a slash. */
    private static String hostOf(ConsumerRecord<byte[], byte[]> record, JsonNode document) {
        String host = header(record, "host");
        if (host == null && document != null) {
            host = document.path("host.name").textValue();
        }
        if (host == null && record.key() != null) {
            String key = new String(record.key(), StandardCharsets.UTF_8);
            int end = key.indexOf(":/");
            host = end > 0 ? key.substring(0, end) : null;
        }
        return host != null ? host : "unknown";
    }

    /** As the line says, else as the container's runtime or the agent did, else when the record was made. */
    private static long minuteOf(ConsumerRecord<byte[], byte[]> record, JsonNode document, LogLine line) {
        OptionalLong minute = line.minute();
        if (minute.isEmpty() && document != null) {
            minute = LogLine.minuteOf(document.path("@timestamp").asText());
        }
        return minute.orElse(Math.floorDiv(record.timestamp(), 60_000L));
    }

    private static String header(ConsumerRecord<byte[], byte[]> record, String name) {
        Header header = record.headers().lastHeader(name);
        return header == null || header.value() == null ? null : new String(header.value(), StandardCharsets.UTF_8);
    }

    private static OptionalLong number(String text) {
        try {
            return text == null ? OptionalLong.empty() : OptionalLong.of(Long.parseLong(text));
        } catch (NumberFormatException e) {
            return OptionalLong.empty();
        }
    }
}
