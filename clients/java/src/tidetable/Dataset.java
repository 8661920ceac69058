package tidetable;

import java.util.Collection;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;

/**
 * A dataset, as one wants to read it: which fields, which version, and what is made of a value.
 * Cheap to make, cannot be changed, and may be used by many threads.
 *
 * <pre>{@code
 * Dataset<Recommendation[]> recs = client.dataset("course-recs")
 *         .fields("course", "score")
 *         .as(json -> mapper.readValue(json, Recommendation[].class));
 * Optional<Recommendation[]> of42 = recs.get("42");
 * }</pre>
 *
 * <p>A call costs one request (of {@code getMany}: one for each 1,000 keys) and ends within the
 * total timeout, retries included. It fails with a {@link NotFoundException} if the dataset or
 * version is not there, a {@link ServerException} if it is refused, a {@link ConnectionException}
 * if no whole answer came, a {@link DeadlineException} when its time is over, a {@link
 * DecodeException} if a value is not what the decoder takes, and, at once, a {@link UsageException}
 * if it can mean nothing. The futures of the {@code Async} calls fail with the same. To cancel one
 * ends the waiting, and no further request is sent for it; one that is under way may go on until it
 * is answered.
 *
 * @param <T> what the decoder makes of a value
 */
public final class Dataset<T> {
    private final Tidetable client;
    private final String name;
    private final Selection selection;
    private final Decoder<T> decoder;

    Dataset(Tidetable client, String name, Selection selection, Decoder<T> decoder) {
        this.client = client;
        this.name = Wire.dataset(name);
        this.selection = selection;
        this.decoder = decoder;
    }

    /** Its name. */
    public String name() {
        return name;
    }

    /**
     * The same with only these top-level fields of each value, which must be a JSON object or an
     * array of such. Up to 200 names. The server leaves the others out; what a value does not have
     * is left out too.
     */
    public Dataset<T> fields(String... names) {
        return new Dataset<>(client, name, selection.fields(List.of(names)), decoder);
    }

    /** The same, read from this version as long as it is kept, instead of the current one. */
    public Dataset<T> version(long version) {
        return new Dataset<>(client, name, selection.version(version), decoder);
    }

    /** The same with another decoder. */
    public <U> Dataset<U> as(Decoder<U> decoder) {
        return new Dataset<>(client, name, selection, decoder);
    }

    /** The value of a key; empty if the version that is read does not have it. */
    public Optional<T> get(String key) {
        return get(Key.of(key));
    }

    /** The value of a key of any bytes. */
    public Optional<T> get(Key key) {
        return getEntry(key).map(Entry::value);
    }

    /** {@link #get(String)} without waiting. */
    public CompletableFuture<Optional<T>> getAsync(String key) {
        return getAsync(Key.of(key));
    }

    /** {@link #get(Key)} without waiting. */
    public CompletableFuture<Optional<T>> getAsync(Key key) {
        return Waiting.then(getEntryAsync(key), entry -> entry.map(Entry::value));
    }

    /** The value of a key with the version it was read from, its ETag and the age of its data. */
    public Optional<Entry<T>> getEntry(String key) {
        return getEntry(Key.of(key));
    }

    /** {@link #getEntry(String)} of a key of any bytes. */
    public Optional<Entry<T>> getEntry(Key key) {
        return Waiting.on(getEntryAsync(key));
    }

    /** {@link #getEntry(String)} without waiting. */
    public CompletableFuture<Optional<Entry<T>>> getEntryAsync(String key) {
        return getEntryAsync(Key.of(key));
    }

    /** {@link #getEntry(Key)} without waiting. */
    public CompletableFuture<Optional<Entry<T>>> getEntryAsync(Key key) {
        return client.reads().get(name, key, selection, decoder);
    }

    /**
     * The values of those keys that are found, in the order asked, all of one version however many
     * keys there are. A key that is named twice is asked for once. If the version is deleted while
     * chunks of it are asked for, the call begins anew, once.
     */
    public Batch<String, T> getMany(Collection<String> keys) {
        return Waiting.on(getManyAsync(keys));
    }

    /** {@link #getMany} without waiting. */
    public CompletableFuture<Batch<String, T>> getManyAsync(Collection<String> keys) {
        return client.reads().getMany(Lookup.of(name, keys, Key::of, selection), decoder);
    }

    /** {@link #getMany} of keys of any bytes. */
    public Batch<Key, T> getManyByKey(Collection<Key> keys) {
        return Waiting.on(getManyByKeyAsync(keys));
    }

    /** {@link #getManyByKey} without waiting. */
    public CompletableFuture<Batch<Key, T>> getManyByKeyAsync(Collection<Key> keys) {
        return client.reads().getMany(Lookup.of(name, keys, key -> key, selection), decoder);
    }

    /** All records whose keys begin with {@code prefix}; see {@link Scan}. Empty: all there are. */
    public Scan<T> scan(String prefix) {
        return new Scan<>(this, prefix.isEmpty() ? null : Key.of(prefix), Long.MAX_VALUE);
    }

    /** {@link #scan(String)} by a prefix of any bytes. */
    public Scan<T> scan(Key prefix) {
        return new Scan<>(this, prefix, Long.MAX_VALUE);
    }

    /**
     * One page of a scan.
     *
     * @param prefix what keys begin with; null or empty for all
     * @param limit at most so many records, 1 to 1,000
     * @param cursor the {@link Page#next()} of the page before, which also holds its version; null
     *     for the first
     */
    public Page<T> page(String prefix, int limit, String cursor) {
        return Waiting.on(pageAsync(prefix, limit, cursor));
    }

    /** {@link #page} without waiting. */
    public CompletableFuture<Page<T>> pageAsync(String prefix, int limit, String cursor) {
        Key key = prefix == null || prefix.isEmpty() ? null : Key.of(prefix);
        return pageAsync(key, limit, cursor);
    }

    CompletableFuture<Page<T>> pageAsync(Key prefix, int limit, String cursor) {
        return client.reads().page(name, prefix, limit, selection, cursor, decoder);
    }

    @Override
    public String toString() {
        return "Dataset[" + name + ", " + selection + ", of " + client + "]";
    }
}
