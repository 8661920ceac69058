package tidetable;

import java.util.ArrayDeque;
import java.util.concurrent.CompletableFuture;

/** As many requests at the same time as there are slots, and so as many connections. */
final class Slots {
    private final ArrayDeque<CompletableFuture<Void>> waiting = new ArrayDeque<>();
    private int free;
    /** Slots that were given back, and nobody has got yet. */
    private int given;
    private boolean giving;

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

    /**
     * Gives a slot to whoever has waited longest. What goes on then may give it back at once: one
     * thread hands out all there are, so that a long queue of such is no deep stack.
     */
    void give() {
        synchronized (this) {
            given++;
            if (giving) {
                return;
            }
            giving = true;
        }
        CompletableFuture<Void> next;
        while ((next = next()) != null) {
            // Not inside the lock: what goes on then is the next request.
            if (!next.complete(null)) {
                back();
            }
        }
    }

    /** Who gets one that was given, if there is any, and anybody waits. */
    private synchronized CompletableFuture<Void> next() {
        if (given > 0 && !waiting.isEmpty()) {
            given--;
            return waiting.poll();
        }
        free += given;
        given = 0;
        giving = false;
        return null;
    }

    private synchronized void back() {
        given++;
    }
}
