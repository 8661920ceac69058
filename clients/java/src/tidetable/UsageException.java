package tidetable;

/** The call or an option cannot mean anything. Nothing was sent. */
public final class UsageException extends TidetableException {
    private static final long serialVersionUID = 1L;

    UsageException(String message) {
        super(message, null);
    }
}
