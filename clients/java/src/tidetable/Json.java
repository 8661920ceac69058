package tidetable;

import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * A JSON value: as little of it as is needed to read one without a library. Numbers are kept as
 * they were written, digit for digit. Values cannot be changed and may be shared between threads.
 * {@code toString()} is compact JSON.
 *
 * <p>What is asked of the wrong kind, {@code asLong()} of a text say, is a {@link DecodeException}.
 */
public sealed interface Json {

    /**
     * Reads JSON text.
     *
     * @throws DecodeException if it is not one JSON value, or nested more than 512 deep
     */
    static Json parse(String text) {
        return parse(text.getBytes(java.nio.charset.StandardCharsets.UTF_8));
    }

    /**
     * Reads JSON text in UTF-8.
     *
     * @throws DecodeException if it is not one JSON value, or nested more than 512 deep
     */
    static Json parse(byte[] text) {
        try {
            return JsonScanner.whole(text);
        } catch (JsonScanner.Malformed e) {
            throw new DecodeException("not JSON: " + e.getMessage(), e);
        }
    }

    /** A member of an object; empty if it has none of this name, or this is no object. */
    default Optional<Json> get(String name) {
        return Optional.empty();
    }

    /** The items of an array. */
    default List<Json> items() {
        throw notA("an array");
    }

    /** The members of an object, in its order. Of a name that stands there twice, the last. */
    default Map<String, Json> members() {
        throw notA("an object");
    }

    /** The text of a string. */
    default String asString() {
        throw notA("a string");
    }

    /** A boolean. */
    default boolean asBoolean() {
        throw notA("a boolean");
    }

    /** A whole number; a fraction, or one that a long does not hold, is a failure. */
    default long asLong() {
        throw notA("a whole number");
    }

    /** The number as the nearest double. */
    default double asDouble() {
        throw notA("a number");
    }

    /** The number, exactly. */
    default BigDecimal asDecimal() {
        throw notA("a number");
    }

    /** Whether it is {@code null}. */
    default boolean isNull() {
        return this instanceof JsonNull;
    }

    private DecodeException notA(String wanted) {
        String text = toString();
        String shown = text.length() <= 40 ? text : text.substring(0, 40) + "…";
        return new DecodeException("expected " + wanted + ", found " + shown, null);
    }

    /** {@code null}. */
    record JsonNull() implements Json {
        static final JsonNull NULL = new JsonNull();

        @Override
        public String toString() {
            return "null";
        }
    }

    /** {@code true} or {@code false}. */
    record JsonBoolean(boolean value) implements Json {
        @Override
        public boolean asBoolean() {
            return value;
        }

        @Override
        public String toString() {
            return Boolean.toString(value);
        }
    }

    /** A number, as it was written: {@code 1.0} and {@code 1} are not equal here. */
    record JsonNumber(String text) implements Json {
        @Override
        public long asLong() {
            try {
                return asDecimal().longValueExact();
            } catch (ArithmeticException e) {
                throw new DecodeException(text + " is no whole number that a long holds", e);
            }
        }

        @Override
        public double asDouble() {
            return Double.parseDouble(text);
        }

        @Override
        public BigDecimal asDecimal() {
            try {
                return new BigDecimal(text);
            } catch (NumberFormatException e) {
                throw new DecodeException(text + " has an exponent beyond all measure", e);
            }
        }

        /** The whole number, however long. Not for numbers that strangers choose: 1e999999999. */
        public BigInteger asInteger() {
            try {
                return asDecimal().toBigIntegerExact();
            } catch (ArithmeticException e) {
                throw new DecodeException(text + " is no whole number", e);
            }
        }

        @Override
        public String toString() {
            return text;
        }
    }

    /** A string. */
    record JsonString(String value) implements Json {
        @Override
        public String asString() {
            return value;
        }

        @Override
        public String toString() {
            StringBuilder out = new StringBuilder(value.length() + 2);
            JsonText.quote(out, value);
            return out.toString();
        }
    }

    /** An array. */
    record JsonArray(List<Json> items) implements Json {
        /** Takes a copy. */
        public JsonArray {
            items = List.copyOf(items);
        }

        @Override
        public String toString() {
            return JsonText.of(this);
        }
    }

    /** An object. Two are equal whatever the order of their members. */
    record JsonObject(Map<String, Json> members) implements Json {
        /** Takes a copy, in the same order. */
        public JsonObject {
            members = Collections.unmodifiableMap(new LinkedHashMap<>(members));
        }

        @Override
        public Optional<Json> get(String name) {
            return Optional.ofNullable(members.get(name));
        }

        @Override
        public String toString() {
            return JsonText.of(this);
        }
    }
}
