package logdrive.storm;

import java.util.Arrays;

/**
 * Positions in one life of a file, each of them once. Eight bytes each: they nearly always come in rising order, so a sorted
 * array grows at its end.
 */
final class PositionSet {
    private long[] positions = new long[8];
    private int size;

    /** Returns whether it was new. */
    boolean add(long position) {
        int at = size;
        if (size > 0 && position <= positions[size - 1]) {
            int found = Arrays.binarySearch(positions, 0, size, position);
            if (found >= 0) {
                return false;
            }
            at = -found - 1;
        }
        if (size == positions.length) {
            positions = Arrays.copyOf(positions, size * 2);
        }
        System.arraycopy(positions, at, positions, at + 1, size - at);
        positions[at] = position;
        size++;
        return true;
    }

    long[] toArray() {
        return Arrays.copyOf(positions, size);
    }
}
