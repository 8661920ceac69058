package tidetable;

/**
 * The total timeout of the call passed. Its cause, if there is one, is why an earlier try of the
 * same call had failed.
 */
public final class DeadlineException extends TidetableException {
    private static final long serialVersionUID = 1L;

    DeadlineException(String message, Throwable cause) {
        super(message, cause);
    }
}
