package logdrive.storm;

import static logdrive.storm.Counts.Outcome.COUNTED;
import static logdrive.storm.Counts.Outcome.IGNORED;
import static logdrive.storm.Counts.Outcome.REPEATED;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;

class CountsTest {
    private static final long NOW = LogLine.minuteOf("2026-01-02 03:04").orElseThrow();

    private Instant clock = Instant.ofEpochSecond(NOW * 60);

    private Counts counts() {
        return new Counts(Duration.ofHours(1), () -> clock);
    }

    private static ErrorEvent error(long minute, String life, long position) {
        return new ErrorEvent("web", minute, life, position);
    }

    private static List<String> results(Counts counts) {
        return counts.takeResults().stream()
                .map(result -> new String(result.toJson(), StandardCharsets.UTF_8))
                .toList();
    }

    @Test
    void whatComesAgainIsCountedOnce() {
        Counts counts = counts();
        assertEquals(COUNTED, counts.count(error(NOW, "a", 0)));
        assertEquals(COUNTED, counts.count(error(NOW, "a", 300)));
        assertEquals(COUNTED, counts.count(error(NOW, "b", 0)));
        assertEquals(REPEATED, counts.count(error(NOW, "a", 0)));
        assertEquals(COUNTED, counts.count(error(NOW, "a", 200)));
        assertEquals(
                List.of("{\"host\":\"web\",\"minute\":\"2026-01-02T03:04Z\",\"errors\":4,\"repeats\":1,"
                        + "\"counted\":{\"a\":[0,200,300],\"b\":[0]}}"),
                results(counts));
        assertEquals(List.of(), results(counts));
        assertEquals(REPEATED, counts.count(error(NOW, "a", 300)));
        assertEquals(
                List.of("{\"host\":\"web\",\"minute\":\"2026-01-02T03:04Z\",\"errors\":4,\"repeats\":2,\"counted\":{}}"),
                results(counts));
    }

    /** Whatever the order, and wherever it is cut by a restart that loses what is in no result yet. */
    @Test
    void neitherOrderNorRestartsNorRepeatsChangeACount() throws IOException {
        for (int seed = 0; seed < 100; seed++) {
            Random random = new Random(seed);
            List<ErrorEvent> events = new ArrayList<>();
            int different = 1 + random.nextInt(40);
            for (int i = 0; i < different; i++) {
                events.add(error(NOW - i % 3, "life" + i % 2, i / 2 * 100L));
            }
            for (int i = random.nextInt(40); i > 0; i--) {
                events.add(events.get(random.nextInt(different)));
            }
            Collections.shuffle(events, random);

            List<Result> topic = new ArrayList<>();
            List<ErrorEvent> unacknowledged = new ArrayList<>();
            Counts counts = counts();
            for (int next = 0; next < events.size() || !unacknowledged.isEmpty(); ) {
                int step = next < events.size() ? random.nextInt(4) : 2;
                if (step < 2) {
                    ErrorEvent event = events.get(next++);
                    counts.count(event);
                    unacknowledged.add(event);
                } else if (step == 2) {
                    topic.addAll(counts.takeResults());
                    unacknowledged.clear();
                } else {
                    // Dies; or, worse, dies between the writing and the acknowledging.
                    if (random.nextBoolean()) {
                        topic.addAll(counts.takeResults());
                    }
                    counts = counts();
                    for (Result result : topic) {
                        counts.restore(Result.fromJson(result.toJson()));
                    }
                    for (ErrorEvent event : unacknowledged) {
                        counts.count(event);
                    }
                }
            }

            for (int age = 0; age < 3; age++) {
                long expected = (different + 2 - age) / 3;
                String minute = Result.minuteName(NOW - age);
                long errors = topic.stream()
                        .filter(result -> result.minute().equals(minute))
                        .reduce((earlier, later) -> later)
                        .map(Result::errors)
                        .orElse(0L);
                assertEquals(expected, errors, "seed " + seed + ", " + age + " minutes ago");
            }
        }
    }

    @Test
    void whatIsForgottenIsNotCountedAnew() {
        Counts counts = counts();
        assertEquals(COUNTED, counts.count(error(NOW - 60, "a", 0)));
        assertEquals(1, counts.takeResults().size());
        clock = clock.plusSeconds(60);
        counts.forgetOld();
        assertEquals(IGNORED, counts.count(error(NOW - 60, "a", 0)));
        assertEquals(COUNTED, counts.count(error(NOW - 59, "a", 0)));
        counts.takeResults();
        counts.forgetOld();
        assertEquals(REPEATED, counts.count(error(NOW - 59, "a", 0)));
        assertEquals(IGNORED, counts.count(error(NOW + 1_000_000, "a", 0)));
    }

    @Test
    void aCountStaysRightWhenItsFirstResultsAreGone() {
        Counts counts = counts();
        counts.restore(new Result("web", Result.minuteName(NOW), 12, 3, Map.of("a", new long[] {700})));
        assertEquals(REPEATED, counts.count(error(NOW, "a", 700)));
        assertEquals(COUNTED, counts.count(error(NOW, "a", 800)));
        assertEquals(
                List.of("{\"host\":\"web\",\"minute\":\"2026-01-02T03:04Z\",\"errors\":13,\"repeats\":4,"
                        + "\"counted\":{\"a\":[800]}}"),
                results(counts));
    }
}
