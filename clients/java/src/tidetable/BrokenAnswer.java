package tidetable;

/** What came is no answer of this API, or not all of one: as a connection that broke. */
final class BrokenAnswer extends RuntimeException {
    private static final long serialVersionUID = 1L;

    BrokenAnswer(String message) {
        super(message);
    }
}
