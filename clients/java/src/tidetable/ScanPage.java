package tidetable;

import java.util.ArrayList;
import java.util.List;

/** A page of a scan as it came; {@code next} is null after the last. */
record ScanPage(long version, List<Key> keys, List<byte[]> values, String next) {

    /** {@code inBytes}: keys were asked for in base64url, and so none says that it is. */
    static ScanPage of(byte[] body, boolean inBytes) {
        Reader reader = new Reader(inBytes);
        return Results.read(body, reader::read);
    }

    private static final class Reader {
        private final boolean inBytes;
        private final List<Key> keys = new ArrayList<>();
        private final List<byte[]> values = new ArrayList<>();
        private long version;
        private String next;
        private boolean told;

        Reader(boolean inBytes) {
            this.inBytes = inBytes;
        }

        ScanPage read(JsonScanner scanner) {
            scanner.members(
                    name -> {
                        switch (name) {
                            case "version" -> version = scanner.whole();
                            case "records" -> {
                                told = true;
                                scanner.items(() -> row(scanner));
                            }
                            case "next" -> next = scanner.isNull() ? null : scanner.string();
                            default -> scanner.skip();
                        }
                    });
            if (!told || version == 0) {
                throw new BrokenAnswer("it lacks its version or its records");
            }
            return new ScanPage(version, keys, values, next);
        }

        private void row(JsonScanner scanner) {
            Row row = new Row();
            row.inBytes = inBytes;
            scanner.members(
                    name -> {
                        switch (name) {
                            case "key" -> row.key = scanner.string();
                            case "key_encoding" ->
                                    row.inBytes = scanner.string().equals("base64url");
                            case "value" -> row.value = scanner.raw();
                            case "encoding" -> row.encoded = scanner.string().equals("base64");
                            default -> scanner.skip();
                        }
                    });
            if (row.key == null || row.value == null) {
                throw new BrokenAnswer("a record lacks its key or its value");
            }
            try {
                keys.add(row.inBytes ? Key.ofBase64url(row.key) : Key.of(row.key));
            } catch (IllegalArgumentException | UsageException e) {
                throw new BrokenAnswer("a key is none: " + e.getMessage());
            }
            values.add(Results.bytes(row.value, row.encoded));
        }
    }

    private static final class Row {
        private String key;
        private boolean inBytes;
        private byte[] value;
        private boolean encoded;
    }
}
