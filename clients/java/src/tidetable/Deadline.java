package tidetable;

import java.time.Duration;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.TimeUnit;

/** When a call ends whatever has come of it, and the clock for that. */
final class Deadline {
    private static final ScheduledThreadPoolExecutor CLOCK = clock();

    /** What a caller chained to a future runs here, and may take long: the clock does not wait. */
    private static final ExecutorService WORKERS =
            Executors.newCachedThreadPool(task -> daemon(task, "tidetable-worker"));

    private final Duration total;
    private final long at;
    private volatile boolean ended;

    private Deadline(Duration total) {
        this.total = total;
        this.at = System.nanoTime() + total.toNanos();
    }

    static Deadline in(Duration total) {
        return new Deadline(total);
    }

    /** Nanoseconds. */
    long left() {
        return at - System.nanoTime();
    }

    /** Nobody waits for the call any more: what it has not sent yet is not to be sent. */
    void end() {
        ended = true;
    }

    boolean isEnded() {
        return ended;
    }

    ScheduledFuture<?> whenOver(Runnable action) {
        return after(left(), action);
    }

    static ScheduledFuture<?> after(long nanos, Runnable action) {
        Runnable handedOver = () -> WORKERS.execute(action);
        return CLOCK.schedule(handedOver, Math.max(0, nanos), TimeUnit.NANOSECONDS);
    }

    DeadlineException exception(Throwable before) {
        return new DeadlineException(
                "no answer within the total timeout of " + total.toMillis() + " ms", before);
    }

    /** One thread for all clients of the process, which keeps no process from ending. */
    private static ScheduledThreadPoolExecutor clock() {
        ScheduledThreadPoolExecutor clock =
                new ScheduledThreadPoolExecutor(1, task -> daemon(task, "tidetable-clock"));
        clock.setRemoveOnCancelPolicy(true);
        return clock;
    }

    private static Thread daemon(Runnable task, String name) {
        Thread thread = new Thread(task, name);
        thread.setDaemon(true);
        return thread;
    }
}
