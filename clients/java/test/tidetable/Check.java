package tidetable;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;

/** As much of a test framework as these tests need: no dependency, also for tests. */
final class Check {
    interface Body {
        void run() throws Exception;
    }

    private static final Map<String, Body> TESTS = new LinkedHashMap<>();

    private Check() {}

    static void that(String name, Body body) {
        if (TESTS.put(name, body) != null) {
            throw new IllegalStateException("two tests are called: " + name);
        }
    }

    static void equal(Object expected, Object found) {
        if (!Objects.equals(expected, found)) {
            throw new AssertionError("expected " + expected + ", found " + found);
        }
    }

    static void holds(boolean condition, String what) {
        if (!condition) {
            throw new AssertionError(what);
        }
    }

    static <E extends Throwable> E fails(Class<E> kind, Body body) {
        try {
            body.run();
        } catch (Throwable e) {
            if (kind.isInstance(e)) {
                return kind.cast(e);
            }
            throw new AssertionError("expected " + kind.getSimpleName() + ", found " + e, e);
        }
        throw new AssertionError("expected " + kind.getSimpleName() + ", and it went well");
    }

    /** Runs those whose names contain {@code part}; exits with 1 if one failed, or none ran. */
    static void runAll(String part) {
        List<String> failed = new ArrayList<>();
        int ran = 0;
        for (Map.Entry<String, Body> test : TESTS.entrySet()) {
            if (!test.getKey().contains(part)) {
                continue;
            }
            ran++;
            try {
                test.getValue().run();
            } catch (Throwable e) {
                failed.add(test.getKey());
                System.err.println("FAILED " + test.getKey());
                e.printStackTrace();
            }
        }
        System.out.println((ran - failed.size()) + " passed, " + failed.size() + " failed");
        System.exit(failed.isEmpty() && ran > 0 ? 0 : 1);
    }
}
