package tidetable;

/** The thread that waited was interrupted. Its interrupt flag is set again, the call given up. */
public final class CallInterruptedException extends TidetableException {
    private static final long serialVersionUID = 1L;

    CallInterruptedException(InterruptedException cause) {
        super("interrupted while waiting for an answer", cause);
    }
}
