package tidetable;

import java.util.Optional;

/**
 * The server, or a proxy before it, answered and refused. {@link #code()} is stable and what
 * programs switch on; {@link #detail()} is for people.
 */
public class ServerException extends TidetableException {
    private static final long serialVersionUID = 1L;

    private final int status;
    private final String code;
    private final String detail;
    private final String requestId;
    private final boolean retryable;

    ServerException(Problem problem) {
        super(problem.message(), null);
        status = problem.status();
        code = problem.code();
        detail = problem.detail();
        requestId = problem.requestId();
        retryable = problem.retryable();
    }

    /** The status of the answer, such as 404. */
    public int status() {
        return status;
    }

    /**
     * The code of the problem, such as {@code dataset_not_found}; empty if what answered was not
     * the server, but a proxy with a page of its own.
     */
    public Optional<String> code() {
        return Optional.ofNullable(code);
    }

    /** Whether that is the code of the problem. */
    public boolean is(String wanted) {
        return wanted.equals(code);
    }

    /** What was wrong, in a sentence. May be empty. */
    public String detail() {
        return detail;
    }

    /** The id under which the server logged the request. */
    public Optional<String> requestId() {
        return Optional.ofNullable(requestId);
    }

    /** Whether the server said that the same request may succeed later. */
    public boolean retryable() {
        return retryable;
    }
}
