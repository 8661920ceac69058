package tidetable;

import java.time.Instant;
import java.util.Optional;

/**
 * A value, and where it came from.
 *
 * @param value what the decoder made of it
 * @param version the version that it was read from
 * @param etag names the bytes of the value; empty for keys of over 6,000 characters as a path has them
 * @param asOf the instant that the version's data describes, if its push named one
 */
public record Entry<T>(T value, long version, Optional<String> etag, Optional<Instant> asOf) {}
