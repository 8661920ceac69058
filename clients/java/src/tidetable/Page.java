package tidetable;

import java.util.List;
import java.util.Optional;

/**
 * Some records of a scan, in the order of their keys' bytes.
 *
 * @param records up to as many as were asked for
 * @param version the version that they, and all further pages, are of
 * @param next the cursor of the next page; empty after the last
 */
public record Page<T>(List<KeyValue<T>> records, long version, Optional<String> next) {}
