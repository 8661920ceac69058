package tidetable;

/**
 * No whole answer came: the server could not be reached, or the connection broke before the answer
 * was complete. It was tried again as often as tries, budget and deadline allowed.
 */
public final class ConnectionException extends TidetableException {
    private static final long serialVersionUID = 1L;

    ConnectionException(String message, Throwable cause) {
        super(message, cause);
    }
}
