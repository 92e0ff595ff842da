package logdrive.storm;

import java.util.HashMap;
import java.util.Map;

/**
 * The errors of one host in one minute: a set, and its size is the count. Adding what is there changes nothing, and the order of
 * adding does not matter; so whatever is delivered twice, late or in another order, the count is the same.
 */
final class Cell {
    final String host;
    final long minute;

    private final Map<String, PositionSet> events = new HashMap<>();

    /** Those of {@code events} that are in no result yet. */
    private final Map<String, PositionSet> fresh = new HashMap<>();

    private long errors;
    private long repeats;
    private boolean changed;

    Cell(String host, long minute) {
        this.host = host;
        this.minute = minute;
    }

    /** Returns whether it was new. */
    boolean add(String life, long position) {
        boolean isNew = events.computeIfAbsent(life, l -> new PositionSet()).add(position);
        if (isNew) {
            errors++;
            fresh.computeIfAbsent(life, l -> new PositionSet()).add(position);
        } else {
            repeats++;
        }
        changed = true;
        return isNew;
    }

    /** Takes up what an earlier one had come to; results come in the order in which they were written. */
    void restore(Result result) {
        // The counts as they were written: should the first results be gone from the topic, the count stays right.
        errors = result.errors();
        repeats = result.repeats();
        result.counted().forEach((life, positions) -> {
            PositionSet set = events.computeIfAbsent(life, l -> new PositionSet());
            for (long position : positions) {
                set.add(position);
            }
        });
    }

    boolean isChanged() {
        return changed;
    }

    Result takeResult() {
        Map<String, long[]> counted = new HashMap<>();
        fresh.forEach((life, positions) -> counted.put(life, positions.toArray()));
        fresh.clear();
        changed = false;
        return new Result(host, Result.minuteName(minute), errors, repeats, counted);
    }
}
