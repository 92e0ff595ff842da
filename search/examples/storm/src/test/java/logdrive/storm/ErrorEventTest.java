package logdrive.storm;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.Optional;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.record.TimestampType;
import org.junit.jupiter.api.Test;

/** Records as docs/records.md describes them. */
class ErrorEventTest {
    private static final String LINE = "2026-01-02 03:04:05,678 ERROR [main] shop.Cart - no such item";
    private static final long MINUTE = LogLine.minuteOf("2026-01-02 03:04").orElseThrow();
    private static final long NEXT_DAY_MS = (MINUTE + 1440) * 60_000 + 59_999;

    @Test
    void aRecordWithHeadersIsTheSameEventWhereverItStandsInKafka() {
        Optional<ErrorEvent> event =
                Optional.of(new ErrorEvent("web-1", MINUTE, "00000000000000a1", 1234));
        RecordHeaders headers = headers("host", "web-1", "path", "/a.log", "generation", "00000000000000a1", "offset", "1234");
        assertEquals(event, ErrorEvent.in(record(2, 17, "web-1:/a.log", LINE, headers)));
        assertEquals(event, ErrorEvent.in(record(3, 99, null, LINE, headers)));
    }

    @Test
    void aRecordWithoutHeadersIsKnownByItsPlaceInKafkaAndItsHostByItsKey() {
        assertEquals(
                Optional.of(new ErrorEvent("web-1", MINUTE, "logs-2", 17)),
                ErrorEvent.in(record(2, 17, "web-1:/var/log/a:b.log", LINE, headers())));
        assertEquals(
                Optional.of(new ErrorEvent("unknown", MINUTE, "logs-2", 17)),
                ErrorEvent.in(record(2, 17, null, LINE, headers())));
        assertEquals(
                Optional.of(new ErrorEvent("unknown", MINUTE, "logs-2", 17)),
                ErrorEvent.in(record(2, 17, "a key of somebody else", LINE, headers())));
    }

    @Test
    void aDocumentSaysItsHostAndHoldsTheLine() {
        String document = """
                {"@timestamp":"2026-01-03T00:00:00.000Z","message":"%s","host.name":"web-2","log.file.path":"/a.log",\
                "event.dataset":"shop","log.offset":1234}""";
        assertEquals(
                Optional.of(new ErrorEvent("web-2", MINUTE, "logs-0", 5)),
                ErrorEvent.in(record(0, 5, "web-2:/a.log", document.formatted(LINE), headers())));
        // A JSON line within the document, without a time of its own: that of the document holds.
        assertEquals(
                Optional.of(new ErrorEvent("web-2", LogLine.minuteOf("2026-01-03 00:00").orElseThrow(), "logs-0", 5)),
                ErrorEvent.in(record(0, 5, null, document.formatted("{\\\"level\\\":\\\"error\\\"}"), headers())));
        // The document names no level: "error" in a field of the item is not one of the line.
        assertEquals(
                Optional.empty(),
                ErrorEvent.in(record(0, 5, null, document.formatted("all is well").replace("shop", "error"), headers())));
    }

    @Test
    void aLineWithoutATimeIsAsOldAsItsRecord() {
        assertEquals(
                Optional.of(new ErrorEvent("web-1", MINUTE + 1440, "logs-0", 0)),
                ErrorEvent.in(record(0, 0, "web-1:/a.log", "{\"level\":\"error\"}", headers())));
    }

    @Test
    void whateverAnotherProducerWritesIsRead() {
        assertEquals(Optional.empty(), ErrorEvent.in(record(0, 0, null, null, headers())));
        assertEquals(Optional.empty(), ErrorEvent.in(record(0, 0, null, "", headers())));
        assertEquals(Optional.empty(), ErrorEvent.in(record(0, 0, null, "{\"log.file.path\":", headers())));
        assertEquals(Optional.empty(), ErrorEvent.in(record(0, 0, null, "{\"log.file.path\":1,\"message\":[{}]}", headers())));
        // Half of the agent's headers name nothing.
        assertEquals(
                Optional.of(new ErrorEvent("web-1", MINUTE, "logs-0", 7)),
                ErrorEvent.in(record(0, 7, null, LINE, headers("host", "web-1", "generation", "a1", "offset", "twelve"))));
    }

    private static RecordHeaders headers(String... namesAndValues) {
        RecordHeaders headers = new RecordHeaders();
        for (int i = 0; i < namesAndValues.length; i += 2) {
            headers.add(namesAndValues[i], namesAndValues[i + 1].getBytes(UTF_8));
        }
        return headers;
    }

    private static ConsumerRecord<byte[], byte[]> record(
            int partition, long offset, String key, String value, RecordHeaders headers) {
        return new ConsumerRecord<>(
                "logs",
                partition,
                offset,
                NEXT_DAY_MS,
                TimestampType.CREATE_TIME,
                key == null ? -1 : key.length(),
                value == null ? -1 : value.length(),
                key == null ? null : key.getBytes(UTF_8),
                value == null ? null : value.getBytes(UTF_8),
                headers,
                Optional.empty());
    }
}
