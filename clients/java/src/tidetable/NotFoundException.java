package tidetable;

/**
 * The dataset or the version that was asked for is not there: {@code dataset_not_found}, {@code
 * no_current_version}, {@code version_not_found} or {@code version_deleted}. Never a key: one that
 * is not there is an empty {@link java.util.Optional}.
 */
public final class NotFoundException extends ServerException {
    private static final long serialVersionUID = 1L;

    NotFoundException(Problem problem) {
        super(problem);
    }
}
