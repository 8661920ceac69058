package tidetable;

/**
 * Makes something of the bytes of a value. With Jackson, say: {@code json -> mapper.readValue(json,
 * Recommendations.class)}. It is called on a thread of the HTTP client, may be called by several
 * at once, and should not block.
 *
 * @param <T> what it makes; never null
 */
@FunctionalInterface
public interface Decoder<T> {
    /**
     * Decodes one value, which is its own array and may be kept.
     *
     * @throws Exception if the value is something else; the caller sees a {@link DecodeException}
     */
    T decode(byte[] value) throws Exception;

    /** A tree of JSON whose numbers keep every digit. What is used unless another is chosen. */
    static Decoder<Json> json() {
        return Json::parse;
    }

    /** The bytes themselves, for datasets whose content type is not JSON, or to decode later. */
    static Decoder<byte[]> bytes() {
        return value -> value;
    }

    /** The value as text; bytes that are not UTF-8 are an error. */
    static Decoder<String> text() {
        return Utf8::decode;
    }
}
