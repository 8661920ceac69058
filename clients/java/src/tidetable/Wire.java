package tidetable;

import java.net.URI;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.nio.charset.CharacterCodingException;
import java.util.List;

/** How calls are written as requests: the one place of paths, parameters and bodies. */
final class Wire {
    /** As many keys as the server takes in one batch, unless its settings say otherwise. */
    static final int MOST_KEYS = 1_000;

    /** As many records as it gives in one page. */
    static final int MOST_RECORDS = 1_000;

    /**
     * Of a key in a path, in characters: longer ones go in a body. The server takes more, and proxies do
     * not: their buffer for the first line has 8,000 characters mostly.
     */
    static final int LONGEST_SEGMENT = 6_000;

    private static final char[] HEX = "0123456789ABCDEF".toCharArray();

    private final String base;
    private final HttpRequest template;

    Wire(URI base, String token, String unit) {
        String text = base.toString();
        this.base = text.endsWith("/") ? text.substring(0, text.length() - 1) : text;
        HttpRequest.Builder builder =
                HttpRequest.newBuilder(base).header("User-Agent", "tidetable-client-java/0.1.0");
        if (token != null) {
            builder.header("Authorization", "Bearer " + token);
        }
        if (unit != null) {
            builder.header("Tidetable-Unit", unit);
        }
        template = builder.build();
    }

    /** A name of a dataset that can stand in a path and mean no other one. */
    static String dataset(String name) {
        if (name.isEmpty() || name.equals(".") || name.equals("..")) {
            throw new UsageException("\"" + name + "\" is no name of a dataset");
        }
        return name;
    }

    /** Whether the key has to be looked up in a batch of one. */
    static boolean isLong(Key key) {
        return key.size() > LONGEST_SEGMENT / 3
                && key.isPlain()
                && percent(key.text()).length() > LONGEST_SEGMENT
                || !key.isPlain() && key.size() > LONGEST_SEGMENT / 4 * 3;
    }

    HttpRequest.Builder get(String dataset, Key key, Selection selection, String etag) {
        Query query = new Query();
        String segment;
        if (key.isPlain()) {
            segment = percent(key.text());
        } else {
            segment = key.base64url();
            query.add("key_encoding", "base64url");
        }
        query.add(selection);
        HttpRequest.Builder request = request(dataset, "/keys/" + segment + query, selection.unit());
        return etag == null ? request : request.header("If-None-Match", etag);
    }

    HttpRequest.Builder page(
            String dataset, Key prefix, int limit, Selection selection, String cursor) {
        Query query = new Query();
        if (prefix != null && prefix.isText()) {
            query.add("prefix", percent(prefix.text()));
        } else if (prefix != null) {
            query.add("prefix", prefix.base64url());
            query.add("key_encoding", "base64url");
        }
        query.add("limit", Integer.toString(limit));
        query.add(selection);
        if (cursor != null) {
            query.add("cursor", percent(cursor));
        }
        return request(dataset, "/scan" + query, selection.unit());
    }

    HttpRequest.Builder batch(Lookup<?> lookup) {
        StringBuilder body = new StringBuilder("{");
        keys(body, lookup);
        return post(
                request(lookup.dataset, "/batch-get", lookup.selection.unit()), body.append('}'));
    }

    HttpRequest.Builder multi(List<? extends Lookup<?>> lookups, String unit) {
        StringBuilder body = new StringBuilder("{\"requests\":[");
        for (Lookup<?> lookup : lookups) {
            body.append(body.charAt(body.length() - 1) == '[' ? "" : ",").append("{\"dataset\":");
            JsonText.quote(body, lookup.dataset);
            keys(body.append(','), lookup);
            body.append('}');
        }
        return post(request("/v1/batch-get", unit), body.append("]}"));
    }

    private static void keys(StringBuilder body, Lookup<?> lookup) {
        boolean text = inText(lookup);
        body.append("\"keys\":[");
        for (Key key : lookup.keys) {
            body.append(body.charAt(body.length() - 1) == '[' ? "" : ",");
            JsonText.quote(body, text ? key.text() : key.base64url());
        }
        body.append(']');
        if (!text) {
            body.append(",\"key_encoding\":\"base64url\"");
        }
        if (!lookup.selection.fields().isEmpty()) {
            body.append(",\"fields\":[");
            for (String field : lookup.selection.fields()) {
                body.append(body.charAt(body.length() - 1) == '[' ? "" : ",");
                JsonText.quote(body, field);
            }
            body.append(']');
        }
        if (lookup.selection.isPinned()) {
            body.append(",\"version\":").append(lookup.selection.version());
        }
    }

    /** One encoding holds for all keys of a batch. */
    static boolean inText(Lookup<?> lookup) {
        return lookup.keys.stream().allMatch(Key::isText);
    }

    private HttpRequest.Builder request(String dataset, String rest, String unit) {
        return request("/v1/datasets/" + percent(dataset) + rest, unit);
    }

    /** {@code unit}: instead of the one that all requests have; null for that one. */
    private HttpRequest.Builder request(String target, String unit) {
        HttpRequest.Builder request =
                HttpRequest.newBuilder(template, (name, value) -> true)
                        .uri(URI.create(base + target));
        return unit == null ? request : request.setHeader("Tidetable-Unit", unit);
    }

    private static HttpRequest.Builder post(HttpRequest.Builder request, StringBuilder body) {
        return request.header("Content-Type", "application/json")
                .POST(BodyPublishers.ofString(body.toString()));
    }

    /** Percent-encodes everything that could mean something in a path or query. */
    static String percent(String text) {
        byte[] bytes;
        try {
            bytes = Utf8.encode(text);
        } catch (CharacterCodingException e) {
            throw new UsageException("a name has half a surrogate pair, which is no text");
        }
        StringBuilder out = new StringBuilder(bytes.length + 16);
        for (byte b : bytes) {
            char c = (char) (b & 0xFF);
            if (c < 128 && (Character.isLetterOrDigit(c) || "-._~".indexOf(c) >= 0)) {
                out.append(c);
            } else {
                out.append('%').append(HEX[c >> 4]).append(HEX[c & 15]);
            }
        }
        return out.toString();
    }

    /** The parameters of a request, encoded already. */
    private static final class Query {
        private final StringBuilder text = new StringBuilder();

        void add(String name, String value) {
            text.append(text.length() == 0 ? '?' : '&').append(name).append('=').append(value);
        }

        void add(Selection selection) {
            if (!selection.fields().isEmpty()) {
                StringBuilder names = new StringBuilder();
                for (String field : selection.fields()) {
                    if (field.indexOf(',') >= 0) {
                        throw new UsageException(
                                "the field \"" + field + "\" has a comma: ask for it by getMany");
                    }
                    names.append(names.length() == 0 ? "" : ",").append(percent(field));
                }
                add("fields", names.toString());
            }
            if (selection.isPinned()) {
                add("version", Long.toString(selection.version()));
            }
        }

        @Override
        public String toString() {
            return text.toString();
        }
    }
}
