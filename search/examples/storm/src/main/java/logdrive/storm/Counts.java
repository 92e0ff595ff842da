package logdrive.storm;

import java.time.Duration;
import java.time.InstantSource;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * All cells of one counter, for as long as they are remembered. It knows neither Storm nor Kafka.
 *
 * <p>A minute is forgotten by the clock and not by what lines say, so that a host whose clock is wrong cannot make the others'
 * errors look old.
 */
final class Counts {
    /** What became of an error. */
    enum Outcome {
        COUNTED,
        REPEATED,
        /** Its minute is too long ago, so it may have been counted and forgotten; or its time cannot be true. */
        IGNORED
    }

    private record Key(String host, long minute) {}

    private final Map<Key, Cell> cells = new HashMap<>();
    private final List<Cell> changed = new ArrayList<>();
    private final long rememberMinutes;
    private final InstantSource clock;

    /** What was the oldest minute to remember when it was last looked for older ones. */
    private long forgottenUntil = Long.MIN_VALUE;

    Counts(Duration remember, InstantSource clock) {
        this.rememberMinutes = remember.toMinutes();
        this.clock = clock;
    }

    Outcome count(ErrorEvent error) {
        if (!isRemembered(error.minute())) {
            return Outcome.IGNORED;
        }
        Cell cell = cells.computeIfAbsent(
                new Key(error.host(), error.minute()), key -> new Cell(key.host(), key.minute()));
        if (!cell.isChanged()) {
            changed.add(cell);
        }
        return cell.add(error.life(), error.position()) ? Outcome.COUNTED : Outcome.REPEATED;
    }

    void restore(Result result) {
        long minute = result.minuteNumber();
        if (isRemembered(minute)) {
            cells.computeIfAbsent(new Key(result.host(), minute), key -> new Cell(key.host(), key.minute()))
                    .restore(result);
        }
    }

    /** The results that are not what they were when they were last taken. */
    List<Result> takeResults() {
        List<Result> results = changed.stream().map(Cell::takeResult).toList();
        changed.clear();
        return results;
    }

    /** To be called when all results are taken. */
    void forgetOld() {
        long oldest = now() - rememberMinutes;
        if (oldest > forgottenUntil) {
            cells.keySet().removeIf(key -> key.minute() < oldest);
            forgottenUntil = oldest;
        }
    }

    /** As far ahead as back: else lines with made-up times could fill the memory with cells that are never old. */
    private boolean isRemembered(long minute) {
        return Math.abs(minute - now()) <= rememberMinutes;
    }

    private long now() {
        return clock.instant().getEpochSecond() / 60;
    }
}
