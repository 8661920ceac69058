package tidetable;

import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;

/** Waits for a call on the caller's own thread. */
final class Waiting {
    private Waiting() {}

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
