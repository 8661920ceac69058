package tidetable;

import java.util.ArrayList;
import java.util.List;

/** Slots by themselves: who gets one, and when. */
final class SlotsTests {
    private SlotsTests() {}

    static void add() {
        Check.that("slots: whoever has waited longest gets one", SlotsTests::inOrder);
        Check.that("slots: those who no longer want one are passed over, however many", SlotsTests::unwanted);
    }

    private static void inOrder() {
        Slots slots = new Slots(2);
        List<Integer> begun = new ArrayList<>();
        for (int n = 0; n < 5; n++) {
            int number = n;
            slots.take(() -> begun.add(number));
        }
        Check.equal(List.of(0, 1), begun);
        slots.give();
        Check.equal(List.of(0, 1, 2), begun);
        slots.give();
        slots.give();
        slots.give();
        Check.equal(List.of(0, 1, 2, 3, 4), begun);
        slots.take(() -> begun.add(5));
        slots.take(() -> begun.add(6));
        Check.equal(List.of(0, 1, 2, 3, 4, 5), begun);
    }

    private static void unwanted() {
        Slots slots = new Slots(1);
        List<String> begun = new ArrayList<>();
        slots.take(() -> false);
        slots.take(() -> begun.add("first"));
        for (int n = 0; n < 100_000; n++) {
            slots.take(() -> false);
        }
        slots.take(() -> begun.add("last"));
        slots.give();
        Check.equal(List.of("first", "last"), begun);
        slots.give();
        slots.take(() -> begun.add("another"));
        Check.equal(3, begun.size());
    }
}
