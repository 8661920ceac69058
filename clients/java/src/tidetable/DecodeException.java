package tidetable;

/**
 * A value came whole, and the {@link Decoder} could not make of it what it was meant to; or a
 * {@link Json} is not of the kind that was asked for.
 */
public final class DecodeException extends TidetableException {
    private static final long serialVersionUID = 1L;

    DecodeException(String message, Throwable cause) {
        super(message, cause);
    }
}
