package tidetable;

import java.time.Instant;
import java.util.ArrayList;
import java.util.List;

/** Values of one version, one for each key that was asked for; null for those not found. */
record Found(List<byte[]> values, long version, Instant asOf) {
    Found and(Found more) {
        List<byte[]> all = new ArrayList<>(values);
        all.addAll(more.values);
        return new Found(all, version, asOf);
    }
}
