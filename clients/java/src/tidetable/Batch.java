package tidetable;

import java.time.Instant;
import java.util.AbstractMap;
import java.util.Collections;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * The values of those keys that were found, in the order asked; all of one version. It cannot be
 * changed.
 *
 * @param <K> {@code String} or {@link Key}, as the keys were asked for
 */
public final class Batch<K, T> extends AbstractMap<K, T> {
    private final Map<K, T> found;
    private final long version;
    private final Instant asOf;

    Batch(Map<K, T> found, long version, Instant asOf) {
        this.found = Collections.unmodifiableMap(found);
        this.version = version;
        this.asOf = asOf;
    }

    /** The version that all of it was read from; 0 if no key was asked for, and so nothing sent. */
    public long version() {
        return version;
    }

    /** The instant that the version's data describes, if its push named one. */
    public Optional<Instant> asOf() {
        return Optional.ofNullable(asOf);
    }

    @Override
    public Set<Map.Entry<K, T>> entrySet() {
        return found.entrySet();
    }

    @Override
    public T get(Object key) {
        return found.get(key);
    }

    @Override
    public boolean containsKey(Object key) {
        return found.containsKey(key);
    }
}
