package tidetable;

import java.util.Optional;

/** What {@code multi} says of one dataset: its values, or why there are none. */
public final class Answer<K, T> {
    private final String dataset;
    private final Batch<K, T> batch;
    private final ServerException error;

    Answer(String dataset, Batch<K, T> batch, ServerException error) {
        this.dataset = dataset;
        this.batch = batch;
        this.error = error;
    }

    /** The dataset that was asked. */
    public String dataset() {
        return dataset;
    }

    /** Its values. */
    public Optional<Batch<K, T>> batch() {
        return Optional.ofNullable(batch);
    }

    /** Why it has none; the other datasets are none the worse for it. */
    public Optional<ServerException> error() {
        return Optional.ofNullable(error);
    }

    /**
     * Its values, or its error thrown.
     *
     * @throws ServerException if this dataset failed
     */
    public Batch<K, T> orThrow() {
        if (error != null) {
            throw error;
        }
        return batch;
    }
}
