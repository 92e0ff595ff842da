package logdrive.storm;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.time.DateTimeException;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.util.Locale;
import java.util.OptionalLong;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What a line of a log says of itself: when it was written, and whether it reports an error.
 *
 * <p>Two kinds of lines are understood. Text with an ISO time and, after it, a level in capitals or as {@code level=...}:
 * what Logback, Log4j, Python's logging and most loggers of Go write. JSON objects with the usual names for both. This is
 * the class to change for others; nothing else knows about formats.
 *
 * @param minute minutes since the epoch, empty if the line shows no time; a time without a zone is taken for UTC
 * @param error whether its level is one of an error
 */
record LogLine(OptionalLong minute, boolean error) {
    private static final ObjectMapper JSON = new ObjectMapper();

    private static final Set<String> ERRORS =
            Set.of("ERROR", "ERR", "SEVERE", "CRITICAL", "CRIT", "FATAL", "ALERT", "EMERG", "PANIC");

    private static final String[] TIME_NAMES = {"@timestamp", "time", "timestamp", "ts"};
    private static final String[] LEVEL_NAMES = {"log.level", "level", "severity"};

    private static final Pattern TIME = Pattern.compile(
            "(\\d{4}-\\d{2}-\\d{2})[T ](\\d{2}:\\d{2})(?::\\d{2}(?:[.,]\\d{1,9})?)?(Z| ?[+-]\\d{2}:?\\d{2}(?!\\d))?");

    /** The first word that is a level at all decides, so that "INFO ... ERROR ..." is no error. */
    private static final Pattern LEVEL = Pattern.compile(
            "\\b(TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|ERR|SEVERE|CRITICAL|CRIT|FATAL|ALERT|EMERG|PANIC)\\b"
                    + "|\\blevel=\"?(\\w+)");

    /** A time stands near the beginning, and a level not far behind it; what comes later is the message. */
    private static final int TIME_WITHIN = 64;
    private static final int LEVEL_WITHIN = 96;

    static LogLine of(String line) {
        if (line.startsWith("{")) {
            try {
                return ofJson(JSON.readTree(line));
            } catch (JsonProcessingException e) {
                // Text that begins with a brace.
            }
        }
        return ofText(line);
    }

    private static LogLine ofJson(JsonNode line) {
        Matcher time = TIME.matcher(text(line, TIME_NAMES));
        return new LogLine(
                time.lookingAt() ? minuteOf(time) : OptionalLong.empty(),
                isError(text(line, LEVEL_NAMES)));
    }

    private static LogLine ofText(String line) {
        Matcher time = TIME.matcher(line).region(0, Math.min(line.length(), TIME_WITHIN));
        if (!time.find()) {
            return new LogLine(OptionalLong.empty(), false);
        }
        Matcher level = LEVEL.matcher(line).region(time.end(), Math.min(line.length(), time.end() + LEVEL_WITHIN));
        boolean error = level.find() && isError(level.group(1) != null ? level.group(1) : level.group(2));
        return new LogLine(minuteOf(time), error);
    }

    /** Whatever the zone, a time is its own: "2026-01-02 03:04 +0100" is the minute 02:04 in UTC. */
    static OptionalLong minuteOf(String time) {
        Matcher matcher = TIME.matcher(time);
        return matcher.lookingAt() ? minuteOf(matcher) : OptionalLong.empty();
    }

    private static OptionalLong minuteOf(Matcher time) {
        try {
            String zone = time.group(3) == null ? "Z" : time.group(3).trim();
            LocalDateTime local = LocalDateTime.parse(time.group(1) + "T" + time.group(2));
            return OptionalLong.of(Math.floorDiv(local.toEpochSecond(ZoneOffset.of(zone)), 60));
        } catch (DateTimeException e) {
            // Digits that look like a time and are none, such as a 13th month.
            return OptionalLong.empty();
        }
    }

    private static boolean isError(String level) {
        return ERRORS.contains(level.toUpperCase(Locale.ROOT));
    }

    private static String text(JsonNode object, String[] names) {
        for (String name : names) {
            JsonNode value = object.get(name);
            if (value != null && value.isTextual()) {
                return value.textValue();
            }
        }
        return "";
    }
}
