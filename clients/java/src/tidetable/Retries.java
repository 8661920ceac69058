package tidetable;

import java.time.Duration;
import java.util.Set;
import java.util.concurrent.ThreadLocalRandom;

/**
 * When a request is sent again, and after how long. The budget is of the whole client: when a
 * server fails for everybody, retries must not double what it has to bear.
 */
final class Retries {
    private static final Set<Integer> STATUSES = Set.of(429, 502, 503, 504);
    private static final long FIRST = Duration.ofMillis(100).toNanos();
    private static final long LONGEST = Duration.ofSeconds(2).toNanos();

    /** In tenths, so that the sum is exact. */
    private static final int FULL = 100;

    private static final int CALL = 1;
    private static final int RETRY = 10;

    private final int mostTries;
    private int budget = FULL;

    Retries(int mostTries) {
        this.mostTries = mostTries;
    }

    static boolean mayPass(int status) {
        return STATUSES.contains(status);
    }

    /** Each call puts something in. */
    synchronized void called() {
        budget = Math.min(FULL, budget + CALL);
    }

    boolean allows(int tries) {
        return tries < mostTries;
    }

    /** Takes a retry from the budget, if it has one. */
    synchronized boolean take() {
        if (budget < RETRY) {
            return false;
        }
        budget -= RETRY;
        return true;
    }

    /** Nanoseconds to wait after so many tries: by chance, so that clients do not come together. */
    static long backoff(int tries) {
        long most = Math.min(LONGEST, FIRST << Math.min(tries - 1, 10));
        return ThreadLocalRandom.current().nextLong(most + 1);
    }
}
