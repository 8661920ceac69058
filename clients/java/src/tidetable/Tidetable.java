package tidetable;

import java.net.URI;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;

/**
 * A client of a Tidetable server: reads values by key. Make one for a process and share it; it
 * may be used by many threads.
 *
 * <pre>{@code
 * Tidetable client = Tidetable.connect("http://127.0.0.1:7070");
 * Optional<Json> recs = client.get("course-recs", "42");
 * Map<String, Json> many = client.getMany("course-recs", List.of("42", "7"));
 * }</pre>
 *
 * <p>These read the current version and give {@link Json}. {@link #dataset} leads to everything
 * else: some fields only, another version, values of your own types, scans, futures. It also says
 * what a call costs and how it fails.
 */
public final class Tidetable implements AutoCloseable {
    private final URI base;
    private final String described;
    private final Reads reads;
    /** Null if it reads for whom the builder says. */
    private final String unit;

    Tidetable(TidetableBuilder options, Reads reads) {
        this(options.base(), options.toString(), reads, null);
    }

    private Tidetable(URI base, String described, Reads reads, String unit) {
        this.base = base;
        this.described = described;
        this.reads = reads;
        this.unit = unit;
    }

    /**
     * A client of the server at this address, with the token in {@code TIDETABLE_TOKEN} if there is
     * one. Nothing is sent yet.
     *
     * @throws UsageException if that is no address of a server
     */
    public static Tidetable connect(String base) {
        return builder().server(base).build();
    }

    /** A client with other options; see {@link TidetableBuilder}. */
    public static TidetableBuilder builder() {
        return new TidetableBuilder();
    }

    /**
     * The same client, reading for this unit instead of {@link TidetableBuilder#unit}: for one
     * learner of many, say. Connections, budget and cache are shared, and closed together; in the
     * cache each unit has values of its own.
     *
     * @throws UsageException if that is no unit
     */
    public Tidetable forUnit(String unit) {
        return new Tidetable(base, described, reads, TidetableBuilder.checkedUnit(unit));
    }

    /** A dataset, to read in any way there is. Asks the server nothing. */
    public Dataset<Json> dataset(String name) {
        Selection all = unit == null ? Selection.ALL : new Selection(List.of(), 0, unit);
        return new Dataset<>(this, name, all, Decoder.json());
    }

    /** The value of a key; empty if the current version does not have it. One request. */
    public Optional<Json> get(String dataset, String key) {
        return dataset(dataset).get(key);
    }

    /** The value with the version it was read from, its ETag and the age of its data. */
    public Optional<Entry<Json>> getEntry(String dataset, String key) {
        return dataset(dataset).getEntry(key);
    }

    /** The values of those keys that are found, all of one version; see {@link Dataset#getMany}. */
    public Batch<String, Json> getMany(String dataset, Collection<String> keys) {
        return dataset(dataset).getMany(keys);
    }

    /** All records whose keys begin with {@code prefix}; see {@link Scan}. */
    public Scan<Json> scan(String dataset, String prefix) {
        return dataset(dataset).scan(prefix);
    }

    /**
     * Keys of several datasets, as they stood at one instant: one request, up to 1,000 keys in all.
     * A dataset that fails has its error in its {@link Answer}, and the others are answered.
     */
    public Map<String, Answer<String, Json>> multi(
            Map<String, ? extends Collection<String>> keys) {
        List<Lookup<String>> lookups = new ArrayList<>();
        keys.forEach((dataset, wanted) -> lookups.add(Lookup.of(dataset, wanted)));
        Map<String, Answer<String, Json>> answers = new LinkedHashMap<>();
        multi(lookups, Decoder.json()).forEach(answer -> answers.put(answer.dataset(), answer));
        return answers;
    }

    /** The same with fields, versions and a decoder; answers in the order asked. */
    public <K, T> List<Answer<K, T>> multi(List<Lookup<K>> lookups, Decoder<T> decoder) {
        return Waiting.on(multiAsync(lookups, decoder));
    }

    /** {@link #multi(List, Decoder)} without waiting. */
    public <K, T> CompletableFuture<List<Answer<K, T>>> multiAsync(
            List<Lookup<K>> lookups, Decoder<T> decoder) {
        return reads().multi(List.copyOf(lookups), unit, decoder);
    }

    /** Empties the cache, if there is one: values that must not be served again, say. */
    public void clearCache() {
        reads.forget();
    }

    Reads reads() {
        if (reads.isClosed()) {
            throw new UsageException("the client of " + base + " is closed");
        }
        return reads;
    }

    /** No call may begin after this; those under way end as they would. */
    @Override
    public void close() {
        reads.close();
    }

    /** Where it reads, and how; never its token. */
    @Override
    public String toString() {
        return unit == null ? described : described + " for " + unit;
    }
}
