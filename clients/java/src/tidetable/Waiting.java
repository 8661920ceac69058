package tidetable;

import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.function.Function;

/** Waits for a call on the caller's own thread, and ends what nobody waits for any more. */
final class Waiting {
    private Waiting() {}

    /** As {@code thenApply}; and to cancel what it gives cancels the call it is of. */
    static <T, U> CompletableFuture<U> then(CompletableFuture<T> call, Function<T, U> made) {
        return tied(call.thenApply(made), () -> call.cancel(true));
    }

    /** The future itself; {@code stop} runs if it is cancelled, which its sources do not notice. */
    static <T> CompletableFuture<T> tied(CompletableFuture<T> future, Runnable stop) {
        future.whenComplete(
                (value, error) -> {
                    if (future.isCancelled()) {
                        stop.run();
                    }
                });
        return future;
    }

    static <T> T on(CompletableFuture<T> call) {
        try {
            return call.get();
        } catch (InterruptedException e) {
            call.cancel(true);
            Thread.currentThread().interrupt();
            throw new CallInterruptedException(e);
        } catch (ExecutionException e) {
            Throwable cause = e.getCause();
            if (cause instanceof TidetableException failure) {
                // Where it was called says more than where the answer was read.
                failure.fillInStackTrace();
                throw failure;
            }
            if (cause instanceof RuntimeException bug) {
                throw bug;
            }
            if (cause instanceof Error bug) {
                throw bug;
            }
            throw new IllegalStateException(cause);
        }
    }
}
