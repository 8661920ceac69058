package tidetable;

import java.net.http.HttpRequest;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;

/** The calls themselves: a request, and what its answer means. Of batches, {@link Chunks}. */
final class Reads {
    private final Transport transport;
    private final Wire wire;
    private final Cache cache;
    private final Duration timeout;
    private volatile boolean closed;

    /** {@code cache} is null if there is to be none. */
    Reads(Transport transport, Wire wire, Cache cache, Duration timeout) {
        this.transport = transport;
        this.wire = wire;
        this.cache = cache;
        this.timeout = timeout;
    }

    /** No call may begin after this. */
    void close() {
        closed = true;
        forget();
    }

    boolean isClosed() {
        return closed;
    }

    void forget() {
        if (cache != null) {
            cache.clear();
        }
    }

    // One key.

    <T> CompletableFuture<Optional<Entry<T>>> get(
            String dataset, Key key, Selection selection, Decoder<T> decoder) {
        if (Wire.isLong(key)) {
            return getInBatch(dataset, key, selection, decoder);
        }
        Cache.Name name = new Cache.Name(dataset, key, selection);
        Cache.Value held = cache == null ? null : cache.fresh(name, System.nanoTime());
        if (held != null) {
            return soon(() -> Optional.of(entry(held, dataset, key, decoder)));
        }
        Cache.Value stale = cache == null ? null : cache.stale(name);
        HttpRequest.Builder request =
                wire.get(dataset, key, selection, stale == null ? null : stale.etag());
        transport.called();
        return transport.send(
                request,
                Deadline.in(timeout),
                reply ->
                        value(reply, name, stale)
                                .map(value -> entry(value, dataset, key, decoder)));
    }

    /** What an answer to a lookup says: a value, or that there is none. */
    private Optional<Cache.Value> value(Reply reply, Cache.Name name, Cache.Value stale) {
        Cache.Value value = null;
        if (reply.status() == 200) {
            value = fresh(reply);
        } else if (reply.status() == 304 && stale != null) {
            Instant asOf = reply.asOf();
            value =
                    new Cache.Value(
                            stale.bytes(), stale.isJson(), told(reply), stale.etag(), asOf);
        }
        if (cache != null) {
            reply.version().ifPresent(v -> saw(name.dataset(), name.selection().version(), v, reply));
            if (value != null) {
                cache.put(name, value, reply.sentAt());
            } else {
                cache.remove(name);
            }
        }
        if (value == null) {
            Problem problem = Problem.of(reply);
            if (reply.status() != 404 || !"key_not_found".equals(problem.code())) {
                throw refused(reply);
            }
        }
        return Optional.ofNullable(value);
    }

    private static Cache.Value fresh(Reply reply) {
        boolean isJson = reply.isJson();
        if (isJson) {
            checked(reply.body());
        } else if (!reply.saysItsEnd()) {
            throw new BrokenAnswer("it does not say where it ends");
        }
        String etag = reply.header("ETag").orElse(null);
        return new Cache.Value(reply.body(), isJson, told(reply), etag, reply.asOf());
    }

    /** A key that is too long for a path. */
    private <T> CompletableFuture<Optional<Entry<T>>> getInBatch(
            String dataset, Key key, Selection selection, Decoder<T> decoder) {
        Lookup<Key> one = Lookup.of(dataset, List.of(key), k -> k, selection);
        return Waiting.then(
                getMany(one, decoder),
                batch -> {
                    T value = batch.get(key);
                    return Optional.ofNullable(value).map(v -> entryOf(v, batch));
                });
    }

    private static <T> Entry<T> entryOf(T value, Batch<Key, T> batch) {
        return new Entry<>(value, batch.version(), Optional.empty(), batch.asOf());
    }

    private static <T> Entry<T> entry(
            Cache.Value value, String dataset, Key key, Decoder<T> decoder) {
        // What the cache holds must stay as it is, whatever a caller does with its array.
        byte[] bytes = value.bytes().clone();
        T decoded = decode(bytes, dataset, key, decoder);
        return new Entry<>(
                decoded,
                value.version(),
                Optional.ofNullable(value.etag()),
                Optional.ofNullable(value.asOf()));
    }

    // Many keys.

    <K, T> CompletableFuture<Batch<K, T>> getMany(Lookup<K> lookup, Decoder<T> decoder) {
        if (lookup.size() == 0) {
            return CompletableFuture.completedFuture(new Batch<>(Map.of(), 0, null));
        }
        transport.called();
        Chunks<K> chunks = new Chunks<>(this, lookup, Deadline.in(timeout));
        return Waiting.then(chunks.all(), found -> decoded(lookup, found, decoder));
    }

    /** One request of a batch: the bytes of each value, null for those not found. */
    CompletableFuture<Found> ask(Lookup<?> lookup, Deadline deadline) {
        return transport.send(
                wire.batch(lookup),
                deadline,
                reply -> {
                    reply.version()
                            .ifPresent(v -> saw(lookup.dataset, lookup.selection.version(), v, reply));
                    if (reply.status() != 200) {
                        throw refused(reply);
                    }
                    Results results = Results.of(reply.body(), lookup);
                    return new Found(results.values(), results.version(), reply.asOf());
                });
    }

    private static <K, T> Batch<K, T> decoded(Lookup<K> lookup, Found found, Decoder<T> decoder) {
        Map<K, T> values = new LinkedHashMap<>();
        for (int at = 0; at < lookup.size(); at++) {
            byte[] value = found.values().get(at);
            if (value != null) {
                Key key = lookup.keys.get(at);
                values.put(lookup.asked.get(at), decode(value, lookup.dataset, key, decoder));
            }
        }
        return new Batch<>(values, found.version(), found.asOf());
    }

    // Several datasets.

    <K, T> CompletableFuture<List<Answer<K, T>>> multi(
            List<Lookup<K>> lookups, String unit, Decoder<T> decoder) {
        if (lookups.isEmpty()) {
            return CompletableFuture.completedFuture(List.of());
        }
        transport.called();
        return transport.send(
                wire.multi(lookups, unit),
                Deadline.in(timeout),
                reply -> {
                    if (reply.status() != 200) {
                        throw refused(reply);
                    }
                    List<Results> results = Results.ofMany(reply.body(), lookups);
                    List<Answer<K, T>> answers = new ArrayList<>();
                    for (int at = 0; at < results.size(); at++) {
                        answers.add(answer(lookups.get(at), results.get(at), reply, decoder));
                    }
                    return List.copyOf(answers);
                });
    }

    private <K, T> Answer<K, T> answer(
            Lookup<K> lookup, Results results, Reply reply, Decoder<T> decoder) {
        if (results.error() != null) {
            ServerException error = Problem.ofPart(results.error(), reply).exception();
            return new Answer<>(lookup.dataset, null, error);
        }
        saw(lookup.dataset, lookup.selection.version(), results.version(), reply);
        Found found = new Found(results.values(), results.version(), null);
        return new Answer<>(lookup.dataset, decoded(lookup, found, decoder), null);
    }

    // A range.

    <T> CompletableFuture<Page<T>> page(
            String dataset,
            Key prefix,
            int limit,
            Selection selection,
            String cursor,
            Decoder<T> decoder) {
        if (limit < 1 || limit > Wire.MOST_RECORDS) {
            throw new UsageException("a page has 1 to 1,000 records, not " + limit);
        }
        boolean inBytes = prefix != null && !prefix.isText();
        transport.called();
        return transport.send(
                wire.page(dataset, prefix, limit, selection, cursor),
                Deadline.in(timeout),
                reply -> {
                    reply.version().ifPresent(v -> saw(dataset, selection.version(), v, reply));
                    if (reply.status() != 200) {
                        throw refused(reply);
                    }
                    ScanPage page = ScanPage.of(reply.body(), inBytes);
                    List<KeyValue<T>> records = new ArrayList<>(page.keys().size());
                    for (int at = 0; at < page.keys().size(); at++) {
                        Key key = page.keys().get(at);
                        T value = decode(page.values().get(at), dataset, key, decoder);
                        records.add(new KeyValue<>(key, value));
                    }
                    Optional<String> next = Optional.ofNullable(page.next());
                    return new Page<>(List.copyOf(records), page.version(), next);
                });
    }

    // What all of them need.

    private void saw(String dataset, long pinned, long version, Reply reply) {
        if (cache != null && pinned == 0) {
            cache.saw(dataset, version, reply.sentAt());
        }
    }

    private static long told(Reply reply) {
        return reply.version().orElseThrow(() -> new BrokenAnswer("it says no version"));
    }

    private static RuntimeException refused(Reply reply) {
        // Success with another status than the API has is no answer of it.
        return reply.status() / 100 == 2
                ? new BrokenAnswer("its status is " + reply.status())
                : Problem.of(reply).exception();
    }

    private static void checked(byte[] json) {
        try {
            JsonScanner.check(json);
        } catch (JsonScanner.Malformed e) {
            throw new BrokenAnswer("no JSON, or not all of it: " + e.getMessage());
        }
    }

    private static <T> T decode(byte[] value, String dataset, Key key, Decoder<T> decoder) {
        try {
            T decoded = decoder.decode(value);
            if (decoded == null) {
                throw new IllegalStateException("the decoder made null of it");
            }
            return decoded;
        } catch (Exception e) {
            String what = "the value of \"" + key + "\" in " + dataset;
            throw new DecodeException(what + " cannot be decoded: " + e.getMessage(), e);
        }
    }

    static byte[] base64(String text) {
        try {
            return Base64.getDecoder().decode(text);
        } catch (IllegalArgumentException e) {
            throw new BrokenAnswer("a value is no base64");
        }
    }

    private interface Work<T> {
        T get();
    }

    /** Without waiting, and with its failure in the future, as the calls that wait have it. */
    private static <T> CompletableFuture<T> soon(Work<T> work) {
        try {
            return CompletableFuture.completedFuture(work.get());
        } catch (RuntimeException e) {
            return CompletableFuture.failedFuture(e);
        }
    }
}
