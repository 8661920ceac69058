package tidetable;

import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.util.List;

/** What is read of JSON, and what is refused. */
final class JsonTests {
    private JsonTests() {}

    static void add() {
        Check.that("json: what is written is what was read", JsonTests::roundTrip);
        Check.that("json: numbers keep every digit", JsonTests::numbers);
        Check.that("json: text that is no JSON is refused", JsonTests::malformed);
        Check.that("json: a cut anywhere is refused", JsonTests::cut);
        Check.that("json: bytes that are no UTF-8 are refused", JsonTests::utf8);
        Check.that("json: depth has an end", JsonTests::depth);
        Check.that("json: the wrong kind is a DecodeException", JsonTests::kinds);
    }

    private static void roundTrip() {
        for (String text :
                List.of(
                        "null",
                        "true",
                        "false",
                        "0",
                        "-0.5e+10",
                        "\"\"",
                        "\"a\\\"\\\\\\n\\u0001\"",
                        "\"\\ud800\"",
                        "\"日本 🎓\"",
                        "[]",
                        "{}",
                        "[1,[2,{\"a\":[]}],null]",
                        "{\"b\":1,\"a\":{\"c\":[true]}}")) {
            Check.equal(text, Json.parse(text).toString());
        }
        Check.equal("[1,2]", Json.parse(" [ 1 ,\t2 ]\r\n").toString());
        Check.equal("a/\b\f\r\t\uD83C\uDF93", Json.parse("\"a\\/\\b\\f\\r\\t\\uD83C\\uDF93\"").asString());
    }

    private static void numbers() {
        Check.equal(9007199254740993L, Json.parse("9007199254740993").asLong());
        Check.equal(Long.MIN_VALUE, Json.parse("-9223372036854775808").asLong());
        Check.equal("18446744073709551615", Json.parse("18446744073709551615").toString());
        Check.fails(DecodeException.class, () -> Json.parse("18446744073709551615").asLong());
        Check.fails(DecodeException.class, () -> Json.parse("1.5").asLong());
        Check.fails(DecodeException.class, () -> Json.parse("1e999999999").asLong());
        Check.equal(15L, Json.parse("1.5e1").asLong());
        Check.equal(0.1, Json.parse("0.1").asDouble());
        BigDecimal exact = new BigDecimal("0.30000000000000000000001");
        Check.equal(exact, Json.parse("0.30000000000000000000001").asDecimal());
    }

    private static void malformed() {
        for (String text :
                List.of(
                        "", " ", "nul", "nulll", "tru", "01", "-", "+1", "1.", ".5", "1e", "1 2",
                        "\"", "\"\\x\"", "\"\\u12g4\"", "\"\n\"", "[1,]", "[,1]", "[1 2]", "{\"a\"}",
                        "{\"a\":}", "{a:1}", "{\"a\":1,}", "{\"a\" 1}", "[1}", "NaN", "'a'")) {
            Check.fails(DecodeException.class, () -> Json.parse(text));
            Check.fails(
                    JsonScanner.Malformed.class,
                    () -> JsonScanner.check(text.getBytes(StandardCharsets.UTF_8)));
        }
    }

    private static void cut() {
        String text = "{\"version\":12,\"results\":[{\"key\":\"ä\\n\",\"found\":true,\"value\":[1.5e3,null]}]}";
        byte[] whole = text.getBytes(StandardCharsets.UTF_8);
        JsonScanner.check(whole);
        for (int length = 0; length < whole.length; length++) {
            byte[] part = java.util.Arrays.copyOf(whole, length);
            Check.fails(JsonScanner.Malformed.class, () -> JsonScanner.check(part));
        }
    }

    private static void utf8() {
        Check.fails(DecodeException.class, () -> Json.parse(new byte[] {'"', (byte) 0xFF, '"'}));
        Check.equal("\uFFFD", Json.parse("\"\uFFFD\"").asString());
    }

    private static void depth() {
        String deep = "[".repeat(512) + "]".repeat(512);
        Check.equal(deep, Json.parse(deep).toString());
        Check.fails(DecodeException.class, () -> Json.parse("[" + deep + "]"));
        Check.fails(DecodeException.class, () -> Json.parse("[".repeat(1_000_000)));
    }

    private static void kinds() {
        Json object = Json.parse("{\"a\":1,\"a\":2}");
        Check.equal(2L, object.get("a").orElseThrow().asLong());
        Check.holds(object.get("b").isEmpty(), "a member that is not there");
        Check.fails(DecodeException.class, object::asString);
        Check.fails(DecodeException.class, object::items);
        Check.fails(DecodeException.class, () -> Json.parse("1").asBoolean());
        Check.fails(UnsupportedOperationException.class, () -> object.members().clear());
    }
}
