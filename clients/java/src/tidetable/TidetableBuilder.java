package tidetable;

import java.net.ProxySelector;
import java.net.URI;
import java.net.URISyntaxException;
import java.net.http.HttpClient;
import java.time.Duration;
import javax.net.ssl.SSLContext;

/**
 * The options of a client. The server is that of the environment variable {@code
 * TIDETABLE_SERVER}, or {@code http://127.0.0.1:7070}, unless said; the token that of {@code
 * TIDETABLE_TOKEN}.
 */
public final class TidetableBuilder {
    private URI base;
    private String token;
    private String unit;
    private Duration connectTimeout = Duration.ofSeconds(1);
    private Duration totalTimeout = Duration.ofSeconds(5);
    private int poolSize = 32;
    private int maxTries = 3;
    private Duration cacheTtl;
    private boolean cacheByVersion;
    private long cacheBytes = 64L << 20;
    private SSLContext sslContext;
    private ProxySelector proxy;

    TidetableBuilder() {
        String server = System.getenv("TIDETABLE_SERVER");
        server(server == null || server.isEmpty() ? "http://127.0.0.1:7070" : server);
        String fromEnvironment = System.getenv("TIDETABLE_TOKEN");
        token(fromEnvironment == null || fromEnvironment.isEmpty() ? null : fromEnvironment);
    }

    /** Where the server is: {@code http://host:port} or {@code https://…}, with a path if a proxy has it at one. */
    public TidetableBuilder server(String address) {
        URI uri;
        try {
            uri = new URI(address);
        } catch (URISyntaxException e) {
            throw new UsageException("the address of the server cannot be read: " + e.getReason());
        }
        boolean http = "http".equals(uri.getScheme()) || "https".equals(uri.getScheme());
        if (!http || uri.getHost() == null) {
            throw new UsageException("the address of the server is http://host:port or https://…");
        }
        if (uri.getRawUserInfo() != null || uri.getRawQuery() != null || uri.getRawFragment() != null) {
            throw new UsageException("the address of the server has no user, query or fragment");
        }
        base = uri;
        return this;
    }

    /** What it shows to be let in, or null for none. */
    public TidetableBuilder token(String token) {
        if (token != null && !(isSized(token) && token.chars().allMatch(c -> c > 0x20 && c < 0x7F))) {
            throw new UsageException("the token is 1 to 1,024 visible ASCII characters");
        }
        this.token = token;
        return this;
    }

    /**
     * For whom it reads ({@code Tidetable-Unit}), while a canary runs: a learner's id, say. Null:
     * a lookup is for its key. ASCII, up to 1,024 characters, spaces between them too. {@link
     * Tidetable#forUnit} reads for another one.
     */
    public TidetableBuilder unit(String unit) {
        this.unit = unit == null ? null : checkedUnit(unit);
        return this;
    }

    /** How long to try to connect: 1 s unless said. It counts as a try. */
    public TidetableBuilder connectTimeout(Duration time) {
        connectTimeout = positive("connect timeout", time);
        return this;
    }

    /** How long a call may take in all, with its retries and waits: 5 s unless said. */
    public TidetableBuilder totalTimeout(Duration time) {
        totalTimeout = positive("total timeout", time);
        return this;
    }

    /** As many requests, and so connections, at the same time: 32 unless said. Others wait. */
    public TidetableBuilder poolSize(int connections) {
        if (connections < 1) {
            throw new UsageException("a pool has at least one connection, not " + connections);
        }
        poolSize = connections;
        return this;
    }

    /** How often a request is sent at most, 3 unless said; 1 is once. */
    public TidetableBuilder maxTries(int tries) {
        if (tries < 1) {
            throw new UsageException("a request is tried at least once, not " + tries + " times");
        }
        maxTries = tries;
        return this;
    }

    /**
     * Keeps values of single keys, up to {@link #cacheBytes}: within {@code ttl} they are given
     * without asking, later if the server says that they did not change (304). A swap is so seen no
     * later than {@code ttl} after it. Values of a pinned version are kept without end, also if
     * their key is erased meanwhile: {@link Tidetable#clearCache()}. Off unless said.
     */
    public TidetableBuilder cache(Duration ttl) {
        if (ttl.isNegative()) {
            throw new UsageException("the cache's time to live is negative");
        }
        cacheTtl = ttl;
        return this;
    }

    /**
     * Also drops all values of a dataset as soon as any answer shows another version of it than
     * before. While a canary runs that is often.
     */
    public TidetableBuilder cacheByVersion() {
        cacheByVersion = true;
        return this;
    }

    /** As many bytes of keys and values as the cache holds: 64 MiB unless said. */
    public TidetableBuilder cacheBytes(long most) {
        cacheBytes = most;
        return this;
    }

    /** For certificates of your own. The JDK's unless said. */
    public TidetableBuilder sslContext(SSLContext context) {
        sslContext = context;
        return this;
    }

    /** A proxy on the way to the server. None unless said, whatever the JDK's properties are. */
    public TidetableBuilder proxy(ProxySelector selector) {
        proxy = selector;
        return this;
    }

    /** The client. Nothing is sent yet. */
    public Tidetable build() {
        HttpClient.Builder http =
                HttpClient.newBuilder()
                        // Over plain HTTP the JDK would ask for an upgrade with each request.
                        .version(HttpClient.Version.HTTP_1_1)
                        .followRedirects(HttpClient.Redirect.NEVER)
                        .connectTimeout(connectTimeout)
                        .proxy(proxy == null ? HttpClient.Builder.NO_PROXY : proxy);
        if (sslContext != null) {
            http.sslContext(sslContext);
        }
        Transport transport =
                new Transport(http.build(), new Slots(poolSize), new Retries(maxTries));
        Cache cache =
                cacheTtl == null
                        ? null
                        : new Cache(nanos(cacheTtl), cacheByVersion, cacheBytes);
        Wire wire = new Wire(base, token, unit);
        return new Tidetable(this, new Reads(transport, wire, cache, totalTimeout));
    }

    URI base() {
        return base;
    }

    /**
     * A unit that cannot break out of its header, and that the JDK does not alter: it writes headers in
     * ASCII, with a question mark for every other letter, and so would read for somebody else.
     */
    static String checkedUnit(String unit) {
        boolean good =
                isSized(unit)
                        && unit.chars().allMatch(c -> c >= 0x20 && c < 0x7F)
                        && unit.equals(unit.strip());
        if (!good) {
            throw new UsageException(
                    "a unit is 1 to 1,024 ASCII characters, none a control character, and no space around them");
        }
        return unit;
    }

    private static boolean isSized(String value) {
        return !value.isEmpty() && value.length() <= 1024;
    }

    private static Duration positive(String what, Duration time) {
        if (time.isNegative() || time.isZero() || time.compareTo(Duration.ofDays(365)) > 0) {
            throw new UsageException("the " + what + " is more than nothing, and at most a year");
        }
        return time;
    }

    private static long nanos(Duration time) {
        Duration most = Duration.ofDays(36_500);
        return (time.compareTo(most) > 0 ? most : time).toNanos();
    }

    /** The options; of the token only whether there is one. */
    @Override
    public String toString() {
        return "Tidetable["
                + base
                + (token == null ? "" : ", with a token")
                + (unit == null ? "" : ", unit " + unit)
                + ", connect "
                + connectTimeout.toMillis()
                + " ms, total "
                + totalTimeout.toMillis()
                + " ms, "
                + poolSize
                + " connections, "
                + maxTries
                + " tries"
                + (cacheTtl == null ? "" : ", cache " + cacheTtl.toMillis() + " ms")
                + "]";
    }
}
