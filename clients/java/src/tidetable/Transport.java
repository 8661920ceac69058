package tidetable;

import java.io.IOException;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.security.cert.CertPathBuilderException;
import java.security.cert.CertPathValidatorException;
import java.security.cert.CertificateException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.Future;
import java.util.concurrent.ScheduledFuture;
import java.util.function.Function;

/**
 * Sends requests, and sends them again where that can help: all of them read, so that a second
 * one does no harm. A call ends when its deadline is over, whatever goes on.
 */
final class Transport {
    private final HttpClient http;
    private final Slots slots;
    private final Retries retries;

    Transport(HttpClient http, Slots slots, Retries retries) {
        this.http = http;
        this.slots = slots;
        this.retries = retries;
    }

    /** A call begins: its retries have a little more to draw on. */
    void called() {
        retries.called();
    }

    /**
     * Sends a request until an answer is whole. {@code read} makes something of it: it throws
     * {@link BrokenAnswer} if it is none after all, and any {@link TidetableException} to fail.
     */
    <T> CompletableFuture<T> send(
            HttpRequest.Builder request, Deadline deadline, Function<Reply, T> read) {
        Call<T> call = new Call<>(request.build(), deadline, read);
        call.begin();
        return call.result;
    }

    private final class Call<T> {
        private final HttpRequest request;
        private final Deadline deadline;
        private final Function<Reply, T> read;
        private final CompletableFuture<T> result = new CompletableFuture<>();
        private volatile int tries;
        private volatile TidetableException failure;
        /** What goes on now: waiting for a slot, for an answer, or for the next try. */
        private volatile Future<?> current;

        Call(HttpRequest request, Deadline deadline, Function<Reply, T> read) {
            this.request = request;
            this.deadline = deadline;
            this.read = read;
        }

        void begin() {
            ScheduledFuture<?> timer =
                    deadline.whenOver(
                            () -> result.completeExceptionally(deadline.exception(failure)));
            result.whenComplete(
                    (value, error) -> {
                        timer.cancel(false);
                        giveUp();
                    });
            attempt();
        }

        private void attempt() {
            tries++;
            slots.take(this::dispatch);
        }

        /** Has a slot; whether it uses it. */
        private boolean dispatch() {
            // Of a batch that was cancelled this one may not have been told yet.
            if (result.isDone() || deadline.isEnded()) {
                return false;
            }
            long sentAt = System.nanoTime();
            CompletableFuture<HttpResponse<byte[]>> sent;
            try {
                sent = http.sendAsync(request, BodyHandlers.ofByteArray());
            } catch (RuntimeException | Error e) {
                // Not here: what a caller chained to it may take long, and others wait for slots.
                Deadline.after(0, () -> result.completeExceptionally(e));
                return false;
            }
            during(sent);
            sent.whenComplete(
                    (response, error) -> {
                        slots.give();
                        if (error != null) {
                            failed(error);
                        } else {
                            answered(response, sentAt);
                        }
                    });
            return true;
        }

        private void answered(HttpResponse<byte[]> response, long sentAt) {
            try {
                Reply reply =
                        new Reply(
                                response.statusCode(), response.headers(), response.body(), sentAt);
                if (Retries.mayPass(reply.status())) {
                    long wait = reply.retryAfter().toNanos();
                    again(Problem.of(reply).exception(), wait);
                } else {
                    result.complete(read.apply(reply));
                }
            } catch (BrokenAnswer e) {
                again(new ConnectionException("a broken answer: " + e.getMessage(), e), 0);
            } catch (RuntimeException | Error e) {
                result.completeExceptionally(e);
            }
        }

        private void failed(Throwable error) {
            Throwable cause = error;
            while (cause instanceof CompletionException && cause.getCause() != null) {
                cause = cause.getCause();
            }
            String place = request.uri().getAuthority();
            TidetableException seen =
                    new ConnectionException("no answer from " + place + ": " + said(cause), cause);
            // A certificate that is not trusted will not be the next time either.
            if (cause instanceof IOException && !isUntrusted(cause)) {
                again(seen, 0);
            } else {
                result.completeExceptionally(seen);
            }
        }

        /** Tries again after some time, if that is allowed and there is time; else fails. */
        private void again(TidetableException seen, long atLeast) {
            long wait = atLeast + Retries.backoff(tries);
            boolean late = wait >= deadline.left();
            if (late || !retries.allows(tries) || !retries.take()) {
                result.completeExceptionally(seen);
                return;
            }
            failure = seen;
            during(Deadline.after(wait, this::attempt));
        }

        private void during(Future<?> next) {
            current = next;
            if (result.isDone()) {
                giveUp();
            }
        }

        private void giveUp() {
            Future<?> now = current;
            if (now != null) {
                now.cancel(true);
            }
        }
    }

    /**
     * Whether it is about a certificate. A handshake that merely breaks off, as when a server restarts,
     * has no such cause, and is tried again like any broken connection.
     */
    static boolean isUntrusted(Throwable error) {
        for (Throwable at = error; at != null; at = at.getCause()) {
            if (at instanceof CertificateException
                    || at instanceof CertPathBuilderException
                    || at instanceof CertPathValidatorException) {
                return true;
            }
        }
        return false;
    }

    /** What an exception says; those of a connection often say nothing. */
    private static String said(Throwable error) {
        String name = error.getClass().getSimpleName();
        return error.getMessage() == null ? name : name + ": " + error.getMessage();
    }
}
