package tidetable;

/**
 * A record that a scan gave.
 *
 * @param key its key; {@link Key#text()} is mostly wanted
 * @param value what the decoder made of its value
 */
public record KeyValue<T>(Key key, T value) {}
