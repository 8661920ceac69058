package tidetable;

import java.time.Instant;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Values of single keys, as bytes with their version and ETag: the least lately used go first when
 * it is full. It is right across swaps in one of two ways: a value is served without asking for no
 * longer than the time to live, counted from when its request was sent; and, if {@code byVersion},
 * all values of a dataset go as soon as an answer shows that another version of it is served.
 */
final class Cache {
    /** What a value is of. */
    record Name(String dataset, Key key, Selection selection) {
        boolean isPinned() {
            return selection.isPinned();
        }
    }

    /** A value as it came. {@code etag} is null where there was none. */
    record Value(byte[] bytes, boolean isJson, long version, String etag, Instant asOf) {}

    private record Held(Value value, long since) {}

    /**
     * Which version a dataset was seen to serve, and when that was known. It is not settled if the
     * request was under way when another version was seen: either may be the newer one.
     */
    private record Seen(long version, long since, boolean settled) {}

    /** What an entry takes beside its bytes. */
    private static final int OVERHEAD = 200;

    private final long ttl;
    private final boolean byVersion;
    private final long mostBytes;
    private final LinkedHashMap<Name, Held> entries = new LinkedHashMap<>(16, 0.75f, true);
    private final Map<String, Seen> seen = new HashMap<>();
    private long bytes;

    Cache(long ttlNanos, boolean byVersion, long mostBytes) {
        this.ttl = ttlNanos;
        this.byVersion = byVersion;
        this.mostBytes = mostBytes;
    }

    /** A value that may be served without asking, or null. */
    synchronized Value fresh(Name name, long now) {
        Held held = entries.get(name);
        boolean good = held != null && (name.isPinned() || now - held.since() < ttl);
        return good ? held.value() : null;
    }

    /** A value that may be served if the server says that it did not change, or null. */
    synchronized Value stale(Name name) {
        Held held = entries.get(name);
        return held == null || held.value().etag() == null ? null : held.value();
    }

    /** Keeps a value whose request was sent at {@code sentAt}. */
    synchronized void put(Name name, Value value, long sentAt) {
        remove(name);
        if (!name.isPinned() && byVersion && !isOfServed(name.dataset(), value.version())) {
            return;
        }
        long size = size(name, value);
        if (size > mostBytes) {
            return;
        }
        entries.put(name, new Held(value, sentAt));
        bytes += size;
        var oldest = entries.entrySet().iterator();
        while (bytes > mostBytes) {
            Map.Entry<Name, Held> entry = oldest.next();
            oldest.remove();
            bytes -= size(entry.getKey(), entry.getValue().value());
        }
    }

    synchronized void remove(Name name) {
        Held held = entries.remove(name);
        if (held != null) {
            bytes -= size(name, held.value());
        }
    }

    /** An answer without a pinned version showed what the dataset serves. */
    synchronized void saw(String dataset, long version, long sentAt) {
        if (!byVersion) {
            return;
        }
        Seen before = seen.get(dataset);
        boolean later = before == null || sentAt - before.since() > 0;
        if (before != null && before.version() == version) {
            // Not settled, its time stays: else requests that overlap would never let it be.
            if (before.settled() || later) {
                seen.put(dataset, new Seen(version, System.nanoTime(), true));
            }
            return;
        }
        drop(dataset);
        // Until another answer has settled it nothing is kept.
        seen.put(dataset, new Seen(version, System.nanoTime(), later));
    }

    private void drop(String dataset) {
        entries.entrySet()
                .removeIf(
                        entry -> {
                            Name name = entry.getKey();
                            boolean goes = name.dataset().equals(dataset) && !name.isPinned();
                            if (goes) {
                                bytes -= size(name, entry.getValue().value());
                            }
                            return goes;
                        });
    }

    synchronized void clear() {
        entries.clear();
        seen.clear();
        bytes = 0;
    }

    private boolean isOfServed(String dataset, long version) {
        Seen known = seen.get(dataset);
        return known != null && known.settled() && known.version() == version;
    }

    private static long size(Name name, Value value) {
        return (long) OVERHEAD + name.key().size() + value.bytes().length;
    }
}
