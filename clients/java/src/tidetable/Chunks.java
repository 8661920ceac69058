package tidetable;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicReference;

/**
 * A batch of any number of keys: asked for in chunks, and all of it of one version. The first
 * chunk's answer says which; the others ask for that one, a few at the same time. If it is gone
 * meanwhile everything begins anew, once. An answer that is too large is asked for in halves.
 * Once it is cancelled nothing more is asked for.
 */
final class Chunks<K> {
    /** Of keys as JSON: well below what the server takes as the body of a batch, which is 4 MiB. */
    private static final int MOST_BYTES = 2 << 20;

    /** Chunks at the same time: lookups wait behind no more of a batch, however large it is. */
    private static final int AT_ONCE = 4;

    private final Reads reads;
    private final Lookup<K> lookup;
    private final Deadline deadline;
    private final Set<CompletableFuture<Found>> underWay = ConcurrentHashMap.newKeySet();

    Chunks(Reads reads, Lookup<K> lookup, Deadline deadline) {
        this.reads = reads;
        this.lookup = lookup;
        this.deadline = deadline;
    }

    CompletableFuture<Found> all() {
        return Waiting.tied(whole(), this::cancel);
    }

    private void cancel() {
        deadline.end();
        underWay.forEach(part -> part.cancel(true));
    }

    private CompletableFuture<Found> whole() {
        if (lookup.selection.isPinned()) {
            return once();
        }
        return once()
                .handle(
                        (found, error) -> {
                            if (error == null) {
                                return CompletableFuture.completedFuture(found);
                            }
                            Throwable cause = cause(error);
                            return cause instanceof VersionGone
                                    ? once()
                                    : CompletableFuture.<Found>failedFuture(cause);
                        })
                .thenCompose(found -> found)
                .handle(
                        (found, error) -> {
                            if (error == null) {
                                return found;
                            }
                            Throwable cause = cause(error);
                            throw new CompletionException(
                                    cause instanceof VersionGone ? cause.getCause() : cause);
                        });
    }

    private CompletableFuture<Found> once() {
        List<Lookup<K>> chunks = chunks();
        return ask(chunks.get(0), false)
                .thenCompose(first -> rest(first, chunks.subList(1, chunks.size())));
    }

    /** Each chunk begins when the one {@link #AT_ONCE} before it has ended; none after a failure. */
    private CompletableFuture<Found> rest(Found first, List<Lookup<K>> chunks) {
        AtomicReference<Throwable> failure = new AtomicReference<>();
        List<CompletableFuture<Found>> parts = new ArrayList<>();
        for (int at = 0; at < chunks.size(); at++) {
            Lookup<K> chunk = chunks.get(at);
            CompletableFuture<Found> before =
                    at < AT_ONCE
                            ? CompletableFuture.completedFuture(first)
                            : parts.get(at - AT_ONCE);
            parts.add(
                    before.thenCompose(
                                    ended -> unless(failure.get(), chunk.pinned(first.version())))
                            .whenComplete(
                                    (found, error) -> {
                                        if (error != null) {
                                            failure.compareAndSet(null, cause(error));
                                        }
                                    }));
        }
        CompletableFuture<Found> all = CompletableFuture.completedFuture(first);
        for (CompletableFuture<Found> part : parts) {
            all = all.thenCombine(part, Found::and);
        }
        return all;
    }

    private CompletableFuture<Found> unless(Throwable failed, Lookup<K> chunk) {
        return failed == null ? ask(chunk, true) : CompletableFuture.failedFuture(failed);
    }

    /** {@code ours}: the version it asks for is what an answer before said, not the caller. */
    private CompletableFuture<Found> ask(Lookup<K> chunk, boolean ours) {
        return send(chunk)
                .handle(
                        (found, error) -> {
                            if (error == null) {
                                return CompletableFuture.completedFuture(found);
                            }
                            Throwable cause = cause(error);
                            if (isTooLarge(cause) && chunk.size() > 1) {
                                return halves(chunk, ours);
                            }
                            boolean begin = ours && !lookup.selection.isPinned() && isGone(cause);
                            Throwable told =
                                    begin ? new VersionGone((NotFoundException) cause) : cause;
                            return CompletableFuture.<Found>failedFuture(told);
                        })
                .thenCompose(found -> found);
    }

    private CompletableFuture<Found> send(Lookup<K> chunk) {
        if (deadline.isEnded()) {
            return CompletableFuture.failedFuture(new CancellationException());
        }
        CompletableFuture<Found> part = reads.ask(chunk, deadline);
        underWay.add(part);
        part.whenComplete((found, error) -> underWay.remove(part));
        // Who cancelled in between did not see it.
        if (deadline.isEnded()) {
            part.cancel(true);
        }
        return part;
    }

    private CompletableFuture<Found> halves(Lookup<K> chunk, boolean ours) {
        int middle = chunk.size() / 2;
        Lookup<K> second = chunk.part(middle, chunk.size());
        return ask(chunk.part(0, middle), ours)
                .thenCompose(
                        first ->
                                ask(second.pinned(first.version()), true).thenApply(first::and));
    }

    private List<Lookup<K>> chunks() {
        List<Lookup<K>> chunks = new ArrayList<>();
        int from = 0;
        int bytes = 0;
        for (int at = 0; at < lookup.size(); at++) {
            int size = lookup.keys.get(at).bytesInBatch();
            if (at - from == Wire.MOST_KEYS || (bytes + size > MOST_BYTES && at > from)) {
                chunks.add(lookup.part(from, at));
                from = at;
                bytes = 0;
            }
            bytes += size;
        }
        chunks.add(lookup.part(from, lookup.size()));
        return chunks;
    }

    private static boolean isTooLarge(Throwable error) {
        return error instanceof ServerException refused && refused.is("answer_too_large");
    }

    private static boolean isGone(Throwable error) {
        return error instanceof NotFoundException gone
                && (gone.is("version_deleted") || gone.is("version_not_found"));
    }

    private static Throwable cause(Throwable error) {
        return error instanceof CompletionException && error.getCause() != null
                ? error.getCause()
                : error;
    }

    /** The version that the first chunk was of is there no more. */
    private static final class VersionGone extends RuntimeException {
        private static final long serialVersionUID = 1L;

        VersionGone(NotFoundException cause) {
            super(cause);
        }
    }
}
