package tidetable;

import java.util.ArrayDeque;

/** The cache by itself: when it serves, and when it must not. */
final class CacheTests {
    private static final long TTL = 1_000;
    private static final Cache.Name A = new Cache.Name("d", Key.of("a"), Selection.ALL);
    private static final Cache.Name B = new Cache.Name("d", Key.of("b"), Selection.ALL);
    private static final Cache.Name PINNED =
            new Cache.Name("d", Key.of("a"), Selection.ALL.version(3));

    private CacheTests() {}

    static void add() {
        Check.that("cache: the time to live begins when the request is sent", CacheTests::ttl);
        Check.that("cache: a pinned value never expires", CacheTests::pinned);
        Check.that("cache: by version, another version drops all of the dataset", CacheTests::byVersion);
        Check.that("cache: by version, an answer that was overtaken is not kept", CacheTests::overtaken);
        Check.that("cache: by version, answers that overlap settle it after all", CacheTests::overlap);
        Check.that("cache: the least lately used go first", CacheTests::full);
    }

    private static Cache.Value value(long version) {
        return new Cache.Value(new byte[100], true, version, "\"e\"", null);
    }

    private static void ttl() {
        Cache cache = new Cache(TTL, false, 1 << 20);
        cache.put(A, value(3), 5_000);
        Check.holds(cache.fresh(A, 5_999) != null, "it is served within its time");
        Check.holds(cache.fresh(A, 6_000) == null, "and no longer");
        Check.holds(cache.stale(A) != null, "then it may be asked about");
        Check.holds(cache.fresh(B, 5_001) == null, "another key is another entry");
    }

    private static void pinned() {
        Cache cache = new Cache(TTL, true, 1 << 20);
        cache.put(PINNED, value(3), 0);
        cache.saw("d", 4, 1);
        cache.saw("d", 5, 2);
        Check.holds(cache.fresh(PINNED, Long.MAX_VALUE / 2) != null, "it is served for ever");
    }

    private static void byVersion() {
        Cache cache = new Cache(TTL, true, 1 << 20);
        long sent = System.nanoTime();
        cache.saw("d", 3, sent);
        cache.put(A, value(3), sent);
        cache.saw("other", 9, System.nanoTime());
        Check.holds(cache.fresh(A, sent) != null, "it is served while its version is");
        cache.saw("d", 4, System.nanoTime());
        Check.holds(cache.fresh(A, sent) == null, "another version is served");
        Check.holds(cache.stale(A) == null, "nothing is left to ask about");
    }

    private static void overtaken() {
        Cache cache = new Cache(TTL, true, 1 << 20);
        long early = System.nanoTime();
        cache.saw("d", 4, System.nanoTime());
        cache.put(B, value(4), System.nanoTime());
        // Sent before the other was answered, and so of the version before, or of the one after.
        cache.saw("d", 3, early);
        cache.put(A, value(3), early);
        Check.holds(cache.fresh(A, early) == null, "which of the two is served is not known");
        Check.holds(cache.fresh(B, early) == null, "so neither is kept");
        long late = System.nanoTime();
        cache.saw("d", 4, late);
        cache.put(B, value(4), late);
        Check.holds(cache.fresh(B, late) != null, "the next answer settles it");
    }

    /** Three requests are always under way; after the swap one answer of the version before comes late. */
    private static void overlap() {
        Cache cache = new Cache(Long.MAX_VALUE / 2, true, 1 << 20);
        ArrayDeque<Long> sent = new ArrayDeque<>();
        for (int n = 0; n < 100; n++) {
            sent.add(System.nanoTime());
            if (sent.size() > 3) {
                long version = n < 13 || n == 15 ? 3 : 4;
                cache.saw("d", version, sent.peek());
                cache.put(A, value(version), sent.remove());
            }
        }
        Check.holds(cache.fresh(A, System.nanoTime()) != null, "values are kept again");
    }

    private static void full() {
        Cache cache = new Cache(TTL, false, 700);
        cache.put(A, value(1), 0);
        cache.put(B, value(1), 0);
        Check.holds(cache.fresh(A, 0) != null, "both fit");
        cache.put(PINNED, value(3), 0);
        Check.holds(cache.fresh(B, 0) == null, "the least lately used is gone");
        Check.holds(cache.fresh(A, 0) != null && cache.fresh(PINNED, 0) != null, "the others are not");
        Cache.Value large = new Cache.Value(new byte[701], true, 1, null, null);
        cache.put(B, large, 0);
        Check.holds(cache.fresh(A, 0) != null, "what cannot fit drives nothing out");
    }
}
