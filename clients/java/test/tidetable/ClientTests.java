package tidetable;

import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.security.cert.CertPathBuilderException;
import java.security.cert.CertificateException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import javax.net.ssl.SSLHandshakeException;

/** The client against a stub. What it promises against a real server stands in clients/conformance. */
final class ClientTests {
    private static final String V3 = "Tidetable-Version: 3";

    private ClientTests() {}

    static void add() {
        Check.that("client: an entry has all that the answer says", ClientTests::entry);
        Check.that("client: an instant in any form of RFC 3339 fails no lookup", ClientTests::asOf);
        Check.that("client: a null that is stored is there", ClientTests::storedNull);
        Check.that("client: bytes come through a decoder of bytes", ClientTests::bytes);
        Check.that("client: a decoder that fails is told, and not retried", ClientTests::decoder);
        Check.that("client: a body without an end is no value", ClientTests::noEnd);
        Check.that("client: a handshake that breaks off is tried again", ClientTests::brokenHandshake);
        Check.that("client: a certificate that is not trusted is final", ClientTests::untrusted);
        Check.that("client: a batch of base64 values", ClientTests::base64);
        Check.that("client: an answer of another version than was pinned is refused", ClientTests::otherVersion);
        Check.that("client: results of other keys are refused", ClientTests::otherKeys);
        Check.that("client: long keys go in a body", ClientTests::longKeys);
        Check.that("client: large keys make small chunks", ClientTests::largeKeys);
        Check.that("client: as many requests at once as the pool has", ClientTests::pool);
        Check.that("client: a large batch leaves the pool to lookups", ClientTests::largeBatch);
        Check.that("client: futures fail with what calls throw", ClientTests::futures);
        Check.that("client: an interrupt ends the waiting", ClientTests::interrupt);
        Check.that("client: of a batch that is cancelled nothing more is sent", ClientTests::cancelled);
        Check.that("client: a failure shows where it was called", ClientTests::callSite);
        Check.that("client: closed is closed", ClientTests::closed);
        Check.that("client: options that mean nothing are refused", ClientTests::options);
        Check.that("client: a unit of its own goes with every read", ClientTests::unit);
        Check.that("client: the token is told to the server alone", ClientTests::token);
        Check.that("client: keys are compared by their bytes", ClientTests::keys);
    }

    private static void entry() throws Exception {
        String answer =
                Stub.json("{\"a\":1}", V3, "ETag: \"e-1\"", "Tidetable-As-Of: 2026-11-22T01:00:00+01:00");
        try (Stub stub = new Stub(request -> answer)) {
            Entry<Json> entry = stub.client().build().getEntry("d", "k").orElseThrow();
            Check.equal("{\"a\":1}", entry.value().toString());
            Check.equal(3L, entry.version());
            Check.equal("\"e-1\"", entry.etag().orElseThrow());
            Check.equal("2026-11-22T00:00:00Z", entry.asOf().orElseThrow().toString());
        }
    }

    private static void asOf() throws Exception {
        Map<String, String> told =
                Map.of(
                        "2026-11-22 00:00:00+00:00", "2026-11-22T00:00:00Z",
                        "2026-11-22t01:00:00.5+01:00", "2026-11-22T00:00:00.500Z",
                        "2016-12-31T23:59:60Z", "2016-12-31T23:59:59Z",
                        "2026-11-22T00:00:00.1234567891Z", "2026-11-22T00:00:00.123456789Z",
                        "2026-11-22T00:00:00+23:00", "none");
        for (Map.Entry<String, String> one : told.entrySet()) {
            String answer = Stub.json("1", V3, "Tidetable-As-Of: " + one.getKey());
            try (Stub stub = new Stub(request -> answer)) {
                Entry<Json> entry = stub.client().build().getEntry("d", "k").orElseThrow();
                Check.equal(one.getValue(), entry.asOf().map(Object::toString).orElse("none"));
                Check.equal(1, stub.requests.size());
            }
        }
    }

    private static void storedNull() throws Exception {
        try (Stub stub = new Stub(request -> Stub.json("null", V3))) {
            Check.holds(stub.client().build().get("d", "k").orElseThrow().isNull(), "it is null");
        }
    }

    private static void bytes() throws Exception {
        try (Stub stub = new Stub(request -> Stub.answer(200, "image/png", "not JSON", V3))) {
            Tidetable client = stub.client().build();
            byte[] value = client.dataset("d").as(Decoder.bytes()).get("k").orElseThrow();
            Check.equal("not JSON", new String(value, StandardCharsets.UTF_8));
            Check.fails(DecodeException.class, () -> client.get("d", "k"));
        }
    }

    private static void decoder() throws Exception {
        try (Stub stub = new Stub(request -> Stub.json("1", V3))) {
            Dataset<Object> broken =
                    stub.client()
                            .build()
                            .dataset("d")
                            .as(
                                    value -> {
                                        throw new java.io.IOException("not today");
                                    });
            DecodeException e = Check.fails(DecodeException.class, () -> broken.get("k"));
            Check.holds(e.getMessage().contains("not today"), e.getMessage());
            Check.fails(DecodeException.class, () -> broken.as(value -> null).get("k"));
            Check.equal(2, stub.requests.size());
        }
    }

    private static void noEnd() throws Exception {
        String endless =
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n" + V3 + "\r\nConnection: close\r\n\r\nhal";
        try (Stub stub = new Stub(request -> endless)) {
            Dataset<String> texts = stub.client().maxTries(2).build().dataset("d").as(Decoder.text());
            Check.fails(ConnectionException.class, () -> texts.get("k"));
            Check.equal(2, stub.requests.size());
        }
    }

    private static void brokenHandshake() throws Exception {
        AtomicInteger begun = new AtomicInteger();
        try (ServerSocket listener = new ServerSocket(0, 50, InetAddress.getLoopbackAddress())) {
            Thread server =
                    new Thread(
                            () -> {
                                while (!listener.isClosed()) {
                                    try (Socket connection = listener.accept()) {
                                        // The whole ClientHello, so that the end is no reset.
                                        DataInputStream in =
                                                new DataInputStream(connection.getInputStream());
                                        in.readNBytes(3);
                                        in.readNBytes(in.readUnsignedShort());
                                        begun.incrementAndGet();
                                    } catch (IOException e) {
                                        // The client went away, or the test is over.
                                    }
                                }
                            });
            server.setDaemon(true);
            server.start();
            Tidetable client =
                    Tidetable.builder()
                            .server("https://127.0.0.1:" + listener.getLocalPort())
                            .token(null)
                            .build();
            Check.fails(ConnectionException.class, () -> client.get("d", "k"));
            Check.holds(begun.get() >= 3, begun.get() + " handshakes were begun");
        }
    }

    private static void untrusted() {
        SSLHandshakeException broken = new SSLHandshakeException("the remote host ended the handshake");
        broken.initCause(new EOFException());
        Check.holds(!Transport.isUntrusted(broken), "it broke off");
        SSLHandshakeException refused = new SSLHandshakeException("PKIX path building failed");
        refused.initCause(new CertificateException(new CertPathBuilderException("no path")));
        Check.holds(Transport.isUntrusted(refused), "its certificate is of nobody");
    }

    private static void base64() throws Exception {
        String answer =
                "{\"version\":3,\"results\":[{\"key\":\"k\",\"found\":true,\"value\":\"/wA=\",\"encoding\":\"base64\"}]}";
        try (Stub stub = new Stub(request -> Stub.json(answer))) {
            Dataset<byte[]> raw = stub.client().build().dataset("d").as(Decoder.bytes());
            byte[] value = raw.getMany(List.of("k")).get("k");
            Check.equal(List.of((byte) 0xFF, (byte) 0), List.of(value[0], value[1]));
        }
    }

    private static void otherVersion() throws Exception {
        try (Stub stub = new Stub(request -> Stub.json(results(3, "k")))) {
            Dataset<Json> pinned = stub.client().maxTries(1).build().dataset("d").version(2);
            Check.fails(ConnectionException.class, () -> pinned.getMany(List.of("k")));
        }
    }

    private static void otherKeys() throws Exception {
        try (Stub stub = new Stub(request -> Stub.json(results(3, "b", "a")))) {
            Tidetable client = stub.client().maxTries(1).build();
            Check.fails(ConnectionException.class, () -> client.getMany("d", List.of("a", "b")));
        }
    }

    private static void longKeys() throws Exception {
        try (Stub stub = new Stub(request -> echo(request, 3))) {
            Tidetable client = stub.client().build();
            for (String key : List.of("ü".repeat(30_000), "ü".repeat(1_001), "x".repeat(6_001))) {
                Entry<Json> entry = client.getEntry("d", key).orElseThrow();
                Check.equal(3L, entry.version());
            }
            for (Stub.Request request : stub.requests) {
                Check.equal("POST", request.method());
            }
        }
        Check.holds(!Wire.isLong(Key.of("ü".repeat(1_000))), "6,000 characters fit");
        Check.holds(!Wire.isLong(Key.of("x".repeat(6_000))), "6,000 characters fit");
        Check.holds(!Wire.isLong(Key.of(new byte[4_500])), "6,000 characters fit");
        Check.holds(Wire.isLong(Key.of(new byte[4_501])), "6,002 characters do not");
    }

    private static void largeKeys() throws Exception {
        Map<String, Integer> requests = Map.of("x", 3, "\u0001", 20);
        for (Map.Entry<String, Integer> one : requests.entrySet()) {
            try (Stub stub = new Stub(request -> echo(request, 3))) {
                List<String> keys =
                        IntStream.range(0, 100)
                                .mapToObj(n -> n + one.getKey().repeat(60_000))
                                .toList();
                Tidetable client = stub.client().totalTimeout(Duration.ofMinutes(1)).build();
                Batch<String, Json> found = client.getMany("d", keys);
                Check.equal(keys, List.copyOf(found.keySet()));
                Check.equal(one.getValue(), stub.requests.size());
                for (Stub.Request request : stub.requests) {
                    Check.holds(request.body().length() < 4 << 20, "a body within the server's limit");
                }
            }
        }
    }

    private static void pool() throws Exception {
        AtomicInteger now = new AtomicInteger();
        AtomicInteger most = new AtomicInteger();
        CountDownLatch two = new CountDownLatch(2);
        Stub stub =
                new Stub(
                        request -> {
                            most.accumulateAndGet(now.incrementAndGet(), Math::max);
                            two.countDown();
                            try {
                                two.await();
                            } catch (InterruptedException e) {
                                return null;
                            }
                            now.decrementAndGet();
                            return Stub.json("1", V3);
                        });
        try (stub) {
            Dataset<Json> dataset = stub.client().poolSize(2).build().dataset("d");
            List<CompletableFuture<?>> calls = new ArrayList<>();
            for (int n = 0; n < 20; n++) {
                calls.add(dataset.getAsync("k" + n));
            }
            calls.forEach(CompletableFuture::join);
            Check.equal(2, most.get());
        }
    }

    private static void largeBatch() throws Exception {
        AtomicInteger batches = new AtomicInteger();
        CountDownLatch four = new CountDownLatch(4);
        CountDownLatch looked = new CountDownLatch(1);
        Stub stub =
                new Stub(
                        request -> {
                            if (request.method().equals("GET")) {
                                return Stub.json("1", V3);
                            }
                            // All but the first wait until the lookup is answered.
                            if (batches.incrementAndGet() > 1) {
                                four.countDown();
                                await(looked);
                            }
                            return echo(request, 3);
                        });
        try (stub) {
            Dataset<Json> dataset =
                    stub.client()
                            .poolSize(5)
                            .totalTimeout(Duration.ofSeconds(30))
                            .build()
                            .dataset("d");
            List<String> keys = IntStream.range(0, 20_000).mapToObj(n -> "k" + n).toList();
            CompletableFuture<Batch<String, Json>> call = dataset.getManyAsync(keys);
            four.await();
            Check.holds(dataset.get("k").isPresent(), "the lookup has a connection");
            Check.equal(5, batches.get());
            looked.countDown();
            Check.equal(keys, List.copyOf(call.get().keySet()));
            Check.equal(20, batches.get());
        }
    }

    private static void futures() throws Exception {
        try (Stub stub = new Stub(request -> Stub.problem(404, "dataset_not_found"))) {
            CompletableFuture<Throwable> seen = new CompletableFuture<>();
            stub.client()
                    .build()
                    .dataset("d")
                    .getManyAsync(List.of("k"))
                    .whenComplete((value, error) -> seen.complete(error.getCause()));
            NotFoundException e = (NotFoundException) seen.get();
            Check.holds(e.is("dataset_not_found"), "its code");
            Check.equal("r-1", e.requestId().orElseThrow());
            Check.equal("it is so", e.detail());
        }
    }

    private static void interrupt() throws Exception {
        CountDownLatch asked = new CountDownLatch(1);
        CountDownLatch over = new CountDownLatch(1);
        Stub stub =
                new Stub(
                        request -> {
                            asked.countDown();
                            try {
                                over.await();
                            } catch (InterruptedException e) {
                                return null;
                            }
                            return null;
                        });
        try (stub) {
            CompletableFuture<Throwable> seen = new CompletableFuture<>();
            Thread caller =
                    new Thread(
                            () -> {
                                try {
                                    stub.client().build().get("d", "k");
                                } catch (RuntimeException e) {
                                    seen.complete(Thread.currentThread().isInterrupted() ? e : null);
                                }
                            });
            caller.start();
            asked.await();
            caller.interrupt();
            Check.holds(seen.get() instanceof CallInterruptedException, "" + seen.get());
            over.countDown();
        }
    }

    private static void cancelled() throws Exception {
        CountDownLatch two = new CountDownLatch(2);
        CountDownLatch over = new CountDownLatch(1);
        AtomicInteger batches = new AtomicInteger();
        Stub stub =
                new Stub(
                        request -> {
                            if (request.method().equals("GET")) {
                                return Stub.json("1", V3);
                            }
                            if (batches.incrementAndGet() > 1) {
                                two.countDown();
                                await(over);
                            }
                            return echo(request, 3);
                        });
        try (stub) {
            Dataset<Json> dataset = stub.client().poolSize(2).build().dataset("d");
            List<String> keys = IntStream.range(0, 20_000).mapToObj(n -> "k" + n).toList();
            CompletableFuture<?> call = dataset.getManyAsync(keys);
            two.await();
            call.cancel(true);
            over.countDown();
            // These take turns with whatever is sent besides.
            for (int n = 0; n < 50; n++) {
                dataset.get("k");
            }
            // The first, and the two that had the slots: no other was ever let go.
            Check.holds(batches.get() <= 3, batches.get() + " batches of 20 were sent");
        }
    }

    private static void await(CountDownLatch latch) {
        try {
            latch.await();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private static void callSite() throws Exception {
        try (Stub stub = new Stub(request -> Stub.problem(400, "invalid_key"))) {
            ServerException e =
                    Check.fails(ServerException.class, () -> stub.client().build().get("d", "k"));
            boolean shown =
                    List.of(e.getStackTrace()).stream()
                            .anyMatch(at -> at.getClassName().equals(ClientTests.class.getName()));
            Check.holds(shown, "its stack trace has the caller");
        }
    }

    private static void closed() throws Exception {
        try (Stub stub = new Stub(request -> Stub.json("1", V3))) {
            Tidetable client = stub.client().build();
            client.close();
            Check.fails(UsageException.class, () -> client.get("d", "k"));
            Check.equal(0, stub.requests.size());
        }
    }

    private static void options() {
        for (String address :
                List.of("", "nonsense", "ftp://h/", "http://", "http://u:secret@h/", "http://h/?a=1", "http://h h")) {
            UsageException e =
                    Check.fails(UsageException.class, () -> Tidetable.builder().server(address));
            Check.holds(!e.getMessage().contains("secret"), e.getMessage());
        }
        Check.fails(UsageException.class, () -> Tidetable.builder().unit(""));
        Check.fails(UsageException.class, () -> Tidetable.builder().unit("ü"));
        Check.fails(UsageException.class, () -> Tidetable.builder().unit(" a"));
        Check.fails(UsageException.class, () -> Tidetable.builder().unit("a\r\nX: y"));
        Check.fails(UsageException.class, () -> Tidetable.connect("http://h").forUnit("ü"));
        Check.fails(UsageException.class, () -> Tidetable.builder().token("a\r\nX: y"));
        Check.fails(UsageException.class, () -> Tidetable.builder().token("a b"));
        Check.fails(UsageException.class, () -> Tidetable.builder().totalTimeout(Duration.ZERO));
        Check.fails(UsageException.class, () -> Tidetable.builder().poolSize(0));
        Check.fails(UsageException.class, () -> Tidetable.builder().maxTries(0));
        Dataset<Json> dataset = Tidetable.connect("http://127.0.0.1:1").dataset("d");
        Check.fails(UsageException.class, dataset::fields);
        Check.fails(UsageException.class, () -> dataset.version(0));
        Check.fails(UsageException.class, () -> dataset.fields("a,b").get("k"));
        Check.fails(UsageException.class, () -> dataset.page("", 1001, null));
        Check.fails(UsageException.class, () -> Tidetable.connect("http://h").dataset(".."));
    }

    private static void unit() throws Exception {
        AtomicInteger gets = new AtomicInteger();
        Stub stub =
                new Stub(
                        request -> {
                            if (request.target().contains("/keys/")) {
                                return Stub.json("" + gets.incrementAndGet(), V3);
                            }
                            if (request.target().contains("/scan")) {
                                return Stub.json("{\"version\":3,\"records\":[],\"next\":null}", V3);
                            }
                            if (request.target().endsWith("/v1/batch-get")) {
                                return Stub.json("{\"answers\":[{\"dataset\":\"d\"," + results(3, "k").substring(1) + "]}");
                            }
                            return echo(request, 3);
                        });
        try (stub) {
            Tidetable client =
                    stub.client().unit("all of them").cache(Duration.ofMinutes(1)).build();
            Tidetable learner = client.forUnit("learner 7");
            for (int n = 0; n < 2; n++) {
                Check.equal("1", client.get("d", "k").orElseThrow().toString());
                Check.equal("2", learner.get("d", "k").orElseThrow().toString());
            }
            Check.equal(1, learner.getMany("d", List.of("k")).size());
            Check.equal(1, learner.multi(Map.of("d", List.of("k"))).size());
            Check.equal(0L, learner.scan("d", "").stream().count());
            Check.equal(
                    List.of("all of them", "learner 7", "learner 7", "learner 7", "learner 7"),
                    stub.requests.stream().map(r -> r.headers().get("Tidetable-Unit")).toList());
            learner.close();
            Check.fails(UsageException.class, () -> client.get("d", "k"));
        }
    }

    private static void token() throws Exception {
        try (Stub stub = new Stub(request -> Stub.json("1", V3))) {
            Tidetable client = stub.client().token("tt_secret").build();
            client.get("d", "k");
            Check.equal("Bearer tt_secret", stub.requests.get(0).headers().get("Authorization"));
            Check.holds(!client.toString().contains("secret"), client.toString());
            String dataset = client.dataset("d").toString();
            Check.holds(!dataset.contains("secret"), dataset);
        }
    }

    private static void keys() {
        Check.equal(Key.of("a"), Key.of(new byte[] {'a'}));
        Check.equal(Map.of(Key.of("a"), 1), Map.of(Key.of(new byte[] {'a'}), 1));
        Check.holds(Key.of("a").compareTo(Key.of(new byte[] {(byte) 0xFF})) < 0, "unsigned");
        Check.fails(DecodeException.class, () -> Key.of(new byte[] {(byte) 0xFF}).text());
        Check.fails(UsageException.class, () -> Key.of("\uD800"));
        Check.fails(UsageException.class, () -> Key.of("?\uD800"));
        Check.equal("?", Key.of("?").text());
        Check.fails(UsageException.class, () -> Key.of(""));
        Check.fails(UsageException.class, () -> Key.of(new byte[65_537]));
    }

    private static String results(long version, String... keys) {
        String results =
                List.of(keys).stream()
                        .map(key -> "{\"key\":" + new Json.JsonString(key) + ",\"found\":true,\"value\":1}")
                        .collect(Collectors.joining(","));
        return "{\"version\":" + version + ",\"results\":[" + results + "]}";
    }

    private static String echo(Stub.Request request, long version) {
        String[] keys =
                request.json().get("keys").orElseThrow().items().stream()
                        .map(Json::asString)
                        .toArray(String[]::new);
        return Stub.json(results(version, keys), "Tidetable-Version: " + version);
    }
}
