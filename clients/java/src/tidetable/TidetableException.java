package tidetable;

/**
 * What every failure of a call is a kind of. Unchecked, so that it need not be declared; a key
 * that is not there is no failure. No text of it holds a token.
 */
public abstract class TidetableException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    TidetableException(String message, Throwable cause) {
        super(message, cause);
    }
}
