package tidetable;

import java.util.ArrayDeque;
import java.util.concurrent.CompletableFuture;

/** As many requests at the same time as there are slots, and so as many connections. */
final class Slots {
    private final ArrayDeque<CompletableFuture<Void>> waiting = new ArrayDeque<>();
    private int free;

    Slots(int size) {
        free = size;
    }

    /** Done when there is a slot. Who no longer wants it cancels, or gives it back when it comes. */
    synchronized CompletableFuture<Void> take() {
        if (free > 0) {
            free--;
            return CompletableFuture.completedFuture(null);
        }
        CompletableFuture<Void> turn = new CompletableFuture<>();
        waiting.add(turn);
        return turn;
    }

    /** Gives a slot to whoever has waited longest. */
    void give() {
        while (true) {
            CompletableFuture<Void> next;
            synchronized (this) {
                next = waiting.poll();
                if (next == null) {
                    free++;
                    return;
                }
            }
            // Not inside the lock: what goes on then is the next request.
            if (next.complete(null)) {
                return;
            }
        }
    }
}
