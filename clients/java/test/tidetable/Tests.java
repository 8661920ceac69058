package tidetable;

/** Runs all tests, or those whose names contain the first argument. */
public final class Tests {
    private Tests() {}

    /** Exits with 0 if all that ran went well. */
    public static void main(String[] args) {
        JsonTests.add();
        CacheTests.add();
        SlotsTests.add();
        ClientTests.add();
        Check.runAll(args.length == 0 ? "" : args[0]);
    }
}
