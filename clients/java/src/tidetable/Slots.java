package tidetable;

import java.util.ArrayDeque;
import java.util.function.BooleanSupplier;

/** As many requests at the same time as there are slots, and so as many connections. */
final class Slots {
    private final ArrayDeque<BooleanSupplier> waiting = new ArrayDeque<>();
    private int free;

    Slots(int size) {
        free = size;
    }

    /**
     * Runs {@code start} when there is a slot: now, or on the thread that gives one back. It says
     * whether it uses the slot; then it is to be given back.
     */
    void take(BooleanSupplier start) {
        synchronized (this) {
            if (free == 0) {
                waiting.add(start);
                return;
            }
            free--;
        }
        // Not inside the lock: what goes on then is a request.
        if (!start.getAsBoolean()) {
            give();
        }
    }

    /** Gives a slot back: to whoever has waited longest and still wants one. */
    void give() {
        BooleanSupplier next;
        do {
            synchronized (this) {
                next = waiting.poll();
                if (next == null) {
                    free++;
                    return;
                }
            }
        } while (!next.getAsBoolean());
    }
}
