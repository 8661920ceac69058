package tidetable;

import java.util.ArrayList;
import java.util.List;

/**
 * What a batch says of one dataset.
 *
 * @param values one for each key that was asked for, null for those not found
 * @param error a problem document in their place, or null
 */
record Results(long version, List<byte[]> values, Json error) {

    static Results of(byte[] body, Lookup<?> lookup) {
        return read(body, scanner -> new Reader(lookup).read(scanner));
    }

    static List<Results> ofMany(byte[] body, List<? extends Lookup<?>> lookups) {
        return read(
                body,
                scanner -> {
                    List<Results> all = new ArrayList<>();
                    scanner.members(
                            name -> {
                                if (!name.equals("answers")) {
                                    scanner.skip();
                                    return;
                                }
                                scanner.items(
                                        () -> {
                                            if (all.size() == lookups.size()) {
                                                throw new BrokenAnswer("it has more answers than were asked for");
                                            }
                                            all.add(new Reader(lookups.get(all.size())).read(scanner));
                                        });
                            });
                    if (all.size() != lookups.size()) {
                        throw new BrokenAnswer("it has " + all.size() + " answers of " + lookups.size());
                    }
                    return all;
                });
    }

    interface Reading<T> {
        T read(JsonScanner scanner);
    }

    /** Reads a whole body; what is no JSON, or not all of it, is a broken answer. */
    static <T> T read(byte[] body, Reading<T> reading) {
        try {
            JsonScanner scanner = new JsonScanner(body);
            T value = reading.read(scanner);
            scanner.finish();
            return value;
        } catch (JsonScanner.Malformed e) {
            throw new BrokenAnswer("not what was expected: " + e.getMessage());
        }
    }

    /** Reads {@code {"version":…,"results":[…]}}, in whatever order its members stand. */
    private static final class Reader {
        private final Lookup<?> lookup;
        private final boolean inText;
        private final List<byte[]> values = new ArrayList<>();
        private long version;
        private Json error;
        private boolean told;

        Reader(Lookup<?> lookup) {
            this.lookup = lookup;
            this.inText = Wire.inText(lookup);
        }

        Results read(JsonScanner scanner) {
            scanner.members(
                    name -> {
                        switch (name) {
                            case "version" -> version = scanner.whole();
                            case "results" -> {
                                told = true;
                                scanner.items(() -> result(scanner));
                            }
                            case "error" -> error = scanner.value();
                            case "dataset" -> {
                                if (!scanner.string().equals(lookup.dataset)) {
                                    throw new BrokenAnswer("it is of another dataset");
                                }
                            }
                            default -> scanner.skip();
                        }
                    });
            if (error == null && (!told || version == 0 || values.size() != lookup.size())) {
                throw new BrokenAnswer(
                        "it has a version or results too few: " + values.size() + " of " + lookup.size());
            }
            if (lookup.selection.isPinned() && error == null && version != lookup.selection.version()) {
                throw new BrokenAnswer("it is of version " + version + ", which was not asked for");
            }
            return new Results(version, values, error);
        }

        private void result(JsonScanner scanner) {
            if (values.size() == lookup.size()) {
                throw new BrokenAnswer("it has more results than keys were asked for");
            }
            Key key = lookup.keys.get(values.size());
            Result result = new Result();
            scanner.members(
                    name -> {
                        switch (name) {
                            case "key" -> result.key = scanner.string();
                            case "found" -> result.found = scanner.bool();
                            case "value" -> result.value = scanner.raw();
                            case "encoding" -> result.encoded = scanner.string().equals("base64");
                            default -> scanner.skip();
                        }
                    });
            if (!(inText ? key.text() : key.base64url()).equals(result.key)) {
                throw new BrokenAnswer("its results are of other keys than were asked for");
            }
            if (result.found && result.value == null) {
                throw new BrokenAnswer("a key was found and has no value");
            }
            values.add(result.found ? bytes(result.value, result.encoded) : null);
        }
    }

    private static final class Result {
        private String key;
        private boolean found;
        private byte[] value;
        private boolean encoded;
    }

    /** The bytes of a value that stands inline, or in base64. */
    static byte[] bytes(byte[] raw, boolean encoded) {
        return encoded ? Reads.base64(JsonScanner.whole(raw).asString()) : raw;
    }
}
