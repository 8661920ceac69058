package tidetable;

import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.function.Function;

/**
 * Keys to look up in one dataset, for {@code multi}.
 *
 * @param <K> {@code String} or {@link Key}
 */
public final class Lookup<K> {
    final String dataset;
    final List<K> asked;
    final List<Key> keys;
    final Selection selection;

    private Lookup(String dataset, List<K> asked, List<Key> keys, Selection selection) {
        this.dataset = dataset;
        this.asked = asked;
        this.keys = keys;
        this.selection = selection;
    }

    /** Text keys. A key that is named twice is asked for once. */
    public static Lookup<String> of(String dataset, Collection<String> keys) {
        return of(dataset, keys, Key::of, Selection.ALL);
    }

    /** Keys of any bytes. */
    public static Lookup<Key> ofKeys(String dataset, Collection<Key> keys) {
        return of(dataset, keys, key -> key, Selection.ALL);
    }

    static <K> Lookup<K> of(
            String dataset, Collection<K> keys, Function<K, Key> toKey, Selection selection) {
        List<K> asked = List.copyOf(new LinkedHashSet<>(keys));
        List<Key> wanted = new ArrayList<>(asked.size());
        for (K key : asked) {
            wanted.add(toKey.apply(key));
        }
        return new Lookup<>(Wire.dataset(dataset), asked, wanted, selection);
    }

    /** The same, of these top-level fields of each value alone. */
    public Lookup<K> fields(String... names) {
        return new Lookup<>(dataset, asked, keys, selection.fields(List.of(names)));
    }

    /** The same, of this version instead of the current one. */
    public Lookup<K> version(long version) {
        return new Lookup<>(dataset, asked, keys, selection.version(version));
    }

    Lookup<K> pinned(long version) {
        return version(version);
    }

    Lookup<K> part(int from, int to) {
        return new Lookup<>(dataset, asked.subList(from, to), keys.subList(from, to), selection);
    }

    int size() {
        return keys.size();
    }
}
