package tidetable.conformance;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import tidetable.Answer;
import tidetable.Batch;
import tidetable.ConnectionException;
import tidetable.Dataset;
import tidetable.DeadlineException;
import tidetable.Decoder;
import tidetable.Json;
import tidetable.Key;
import tidetable.KeyValue;
import tidetable.Lookup;
import tidetable.Scan;
import tidetable.ServerException;
import tidetable.Tidetable;
import tidetable.TidetableBuilder;
import tidetable.TidetableException;
import tidetable.UsageException;

/**
 * Makes the calls that clients/conformance asks for, as a user of the client would: one JSON
 * object a line on standard input, one answer a line on standard output.
 */
public final class Adapter {
    private static final String HELLO =
            "{\"language\":\"java\",\"needs\":[\"bigint\",\"bytes_keys\",\"connect_timeout\",\"surrogates\","
                    + "\"cache\",\"cache_version\",\"clear_cache\",\"unit\",\"unit_per_call\",\"user_agent\"]}";

    private Tidetable client;

    private Adapter() {}

    /** Answers lines until there are no more. */
    public static void main(String[] args) throws Exception {
        Adapter adapter = new Adapter();
        var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        var out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            Json request = Json.parse(line);
            Map<String, Json> answer = new LinkedHashMap<>();
            answer.put("id", request.get("id").orElseThrow());
            try {
                answer.putAll(adapter.answer(request).members());
            } catch (RuntimeException e) {
                answer.put("error", error(e));
            }
            out.println(new Json.JsonObject(answer));
            out.flush();
        }
    }

    private Json answer(Json request) {
        return switch (field(request, "call").asString()) {
            case "hello" -> Json.parse(HELLO);
            case "open" -> open(request);
            case "get" -> get(request);
            case "get_many" -> getMany(request);
            case "scan" -> scan(request);
            case "multi" -> multi(request);
            case "clear_cache" -> {
                client.clearCache();
                yield object("ok", new Json.JsonBoolean(true));
            }
            case "describe" -> object("text", text(client.toString()));
            case "close" -> {
                client.close();
                yield object("ok", new Json.JsonBoolean(true));
            }
            default -> throw new IllegalArgumentException("no such call: " + request);
        };
    }

    private Json open(Json request) {
        Json options = field(request, "options");
        TidetableBuilder builder =
                Tidetable.builder()
                        .server(field(request, "base_url").asString())
                        .token(textOrNull(options, "token"))
                        .unit(textOrNull(options, "unit"));
        if (isThere(options, "total_timeout")) {
            builder.totalTimeout(seconds(field(options, "total_timeout")));
        }
        if (isThere(options, "connect_timeout")) {
            builder.connectTimeout(seconds(field(options, "connect_timeout")));
        }
        if (isThere(options, "max_tries")) {
            builder.maxTries((int) field(options, "max_tries").asLong());
        }
        if (isThere(options, "cache")) {
            Json cache = field(options, "cache");
            builder.cache(seconds(field(cache, "ttl")));
            if ("version".equals(textOrNull(cache, "mode"))) {
                builder.cacheByVersion();
            }
        }
        client = builder.build();
        return object("ok", new Json.JsonBoolean(true));
    }

    private Json get(Json request) {
        Key key =
                isThere(request, "key_base64")
                        ? bytesKey(field(request, "key_base64"))
                        : Key.of(field(request, "key").asString());
        return dataset(request)
                .getEntry(key)
                .map(
                        entry ->
                                object(
                                        "found", new Json.JsonBoolean(true),
                                        "value", entry.value(),
                                        "version", number(entry.version())))
                .orElseGet(() -> object("found", new Json.JsonBoolean(false)));
    }

    private Json getMany(Json request) {
        if (isThere(request, "keys_base64")) {
            List<Key> keys = new ArrayList<>();
            field(request, "keys_base64").items().forEach(key -> keys.add(bytesKey(key)));
            return batch(dataset(request).getManyByKey(keys), Adapter::inBase64);
        }
        return batch(dataset(request).getMany(texts(field(request, "keys"))), Adapter::text);
    }

    private static <K> Json batch(Batch<K, Json> found, Function<K, Json> written) {
        List<Json> values = new ArrayList<>();
        found.forEach((key, value) -> values.add(array(written.apply(key), value)));
        Json version = found.version() == 0 ? Json.parse("null") : number(found.version());
        return object("values", new Json.JsonArray(values), "version", version);
    }

    private Json scan(Json request) {
        Scan<Json> scan = dataset(request).scan(field(request, "prefix").asString());
        if (isThere(request, "limit")) {
            scan = scan.limit(field(request, "limit").asLong());
        }
        Scan.Records<Json> records = scan.iterator();
        List<Json> rows = new ArrayList<>();
        while (records.hasNext()) {
            KeyValue<Json> record = records.next();
            rows.add(array(scanned(record.key()), record.value()));
        }
        return object("records", new Json.JsonArray(rows), "version", number(records.version()));
    }

    private static Json scanned(Key key) {
        try {
            return text(key.text());
        } catch (TidetableException e) {
            return object("base64", inBase64(key));
        }
    }

    private Json multi(Json request) {
        List<Lookup<String>> lookups = new ArrayList<>();
        for (Json one : field(request, "requests").items()) {
            Lookup<String> lookup =
                    Lookup.of(field(one, "dataset").asString(), texts(field(one, "keys")));
            if (isThere(one, "fields")) {
                lookup = lookup.fields(texts(field(one, "fields")).toArray(String[]::new));
            }
            if (isThere(one, "version")) {
                lookup = lookup.version(field(one, "version").asLong());
            }
            lookups.add(lookup);
        }
        List<Json> answers = new ArrayList<>();
        for (Answer<String, Json> answer : reader(request).multi(lookups, Decoder.json())) {
            Map<String, Json> told = new LinkedHashMap<>();
            told.put("dataset", text(answer.dataset()));
            answer.error().ifPresent(error -> told.put("error", error(error)));
            answer.batch().ifPresent(b -> told.putAll(batch(b, Adapter::text).members()));
            answers.add(new Json.JsonObject(told));
        }
        return object("answers", new Json.JsonArray(answers));
    }

    private Tidetable reader(Json request) {
        return isThere(request, "unit") ? client.forUnit(textOrNull(request, "unit")) : client;
    }

    private Dataset<Json> dataset(Json request) {
        Dataset<Json> dataset = reader(request).dataset(field(request, "dataset").asString());
        if (isThere(request, "fields")) {
            dataset = dataset.fields(texts(field(request, "fields")).toArray(String[]::new));
        }
        if (isThere(request, "version")) {
            dataset = dataset.version(field(request, "version").asLong());
        }
        return dataset;
    }

    private static Json error(RuntimeException error) {
        Map<String, Json> told = new LinkedHashMap<>();
        told.put("kind", text(kind(error)));
        if (error instanceof ServerException refused) {
            told.put("code", refused.code().map(Adapter::text).orElse(Json.parse("null")));
            told.put("status", number(refused.status()));
            told.put("detail", text(refused.detail()));
            refused.requestId().ifPresent(id -> told.put("request_id", text(id)));
        }
        StringWriter all = new StringWriter();
        error.printStackTrace(new PrintWriter(all));
        told.put("text", text(all.toString()));
        return new Json.JsonObject(told);
    }

    private static String kind(RuntimeException error) {
        if (error instanceof ServerException) {
            return "http";
        } else if (error instanceof DeadlineException) {
            return "timeout";
        } else if (error instanceof ConnectionException) {
            return "connection";
        }
        return error instanceof UsageException ? "usage" : error.getClass().getSimpleName();
    }

    private static boolean isThere(Json object, String name) {
        return object.get(name).filter(value -> !value.isNull()).isPresent();
    }

    private static Json field(Json object, String name) {
        return object.get(name)
                .orElseThrow(() -> new IllegalArgumentException("no " + name + " in " + object));
    }

    private static String textOrNull(Json object, String name) {
        return isThere(object, name) ? field(object, name).asString() : null;
    }

    private static List<String> texts(Json array) {
        return array.items().stream().map(Json::asString).toList();
    }

    private static Key bytesKey(Json base64) {
        return Key.of(Base64.getDecoder().decode(base64.asString()));
    }

    private static Json inBase64(Key key) {
        return text(Base64.getEncoder().encodeToString(key.bytes()));
    }

    private static Duration seconds(Json number) {
        return Duration.ofNanos(Math.round(number.asDouble() * 1e9));
    }

    private static Json text(String text) {
        return new Json.JsonString(text);
    }

    private static Json number(long number) {
        return new Json.JsonNumber(Long.toString(number));
    }

    private static Json array(Json... items) {
        return new Json.JsonArray(List.of(items));
    }

    private static Json object(Object... namesAndValues) {
        Map<String, Json> members = new LinkedHashMap<>();
        for (int at = 0; at < namesAndValues.length; at += 2) {
            members.put((String) namesAndValues[at], (Json) namesAndValues[at + 1]);
        }
        return new Json.JsonObject(members);
    }
}
