package tidetable;

import java.util.List;

/**
 * What of a value, of which version and for whom: no fields are all of them, version 0 the current
 * one, and the unit null that of the builder, if it has one.
 */
record Selection(List<String> fields, long version, String unit) {
    static final Selection ALL = new Selection(List.of(), 0, null);

    Selection fields(List<String> names) {
        if (names.isEmpty() || names.stream().anyMatch(String::isEmpty)) {
            throw new UsageException("fields names at least one field, and no empty one");
        }
        return new Selection(List.copyOf(names), version, unit);
    }

    Selection version(long wanted) {
        if (wanted < 1) {
            throw new UsageException("versions are numbered from 1; " + wanted + " is none");
        }
        return new Selection(fields, wanted, unit);
    }

    boolean isPinned() {
        return version != 0;
    }
}
