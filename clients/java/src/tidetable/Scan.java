package tidetable;

import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;

/**
 * Records in the order of their keys' bytes, all of one version, also if another one becomes
 * current meanwhile. They are fetched as they are read, up to 1,000 with a request; each request
 * has the total timeout to itself. Whoever reads more slowly than the server keeps old versions
 * (600 s unless its settings say otherwise) may get a {@link NotFoundException} in the middle.
 * Each iterator and stream begins anew, with the version that is current then.
 */
public final class Scan<T> implements Iterable<KeyValue<T>> {
    private final Dataset<T> dataset;
    private final Key prefix;
    private final long limit;

    Scan(Dataset<T> dataset, Key prefix, long limit) {
        this.dataset = dataset;
        this.prefix = prefix;
        this.limit = limit;
    }

    /** The same, with at most so many records; no more than these are asked for. */
    public Scan<T> limit(long most) {
        if (most < 0) {
            throw new UsageException("a limit of " + most + " records");
        }
        return new Scan<>(dataset, prefix, most);
    }

    /** The records one after the other. Asks for the first page at once. */
    @Override
    public Records<T> iterator() {
        return new Records<>(dataset, prefix, limit);
    }

    /** The records as a stream. */
    public Stream<KeyValue<T>> stream() {
        return StreamSupport.stream(spliterator(), false);
    }

    /** The records of one scan, for one thread at a time. */
    public static final class Records<T> implements Iterator<KeyValue<T>> {
        private final Dataset<T> dataset;
        private final Key prefix;
        private long left;
        private Page<T> page;
        private int at;

        private Records(Dataset<T> dataset, Key prefix, long limit) {
            this.dataset = dataset;
            this.prefix = prefix;
            this.left = limit;
            // Without a record that is wanted the version still is.
            page = fetch(Math.max(1, limit), null);
        }

        /** The version that all of them are of. */
        public long version() {
            return page.version();
        }

        @Override
        public boolean hasNext() {
            while (left > 0 && at == page.records().size() && page.next().isPresent()) {
                page = fetch(left, page.next().get());
                at = 0;
            }
            return left > 0 && at < page.records().size();
        }

        @Override
        public KeyValue<T> next() {
            if (!hasNext()) {
                throw new NoSuchElementException();
            }
            left--;
            return page.records().get(at++);
        }

        private Page<T> fetch(long wanted, String cursor) {
            int limit = (int) Math.min(wanted, Wire.MOST_RECORDS);
            return Waiting.on(dataset.pageAsync(prefix, limit, cursor));
        }
    }
}
