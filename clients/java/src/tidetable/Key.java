package tidetable;

import java.nio.charset.CharacterCodingException;
import java.util.Arrays;
import java.util.Base64;

/**
 * A key: 1 to 65,536 bytes, mostly of UTF-8 text. Only needed for keys that are not text, and to
 * know what a scan gave; everywhere else a {@code String} will do.
 */
public final class Key implements Comparable<Key> {
    private static final int MOST_BYTES = 65_536;

    private final byte[] bytes;
    /** Null unless the key was given as text: it goes in base64url then. */
    private final String text;

    private Key(byte[] bytes, String text) {
        this.bytes = bytes;
        this.text = text;
    }

    /**
     * A key that is text.
     *
     * @throws UsageException if it is empty, too long, or has half a surrogate pair
     */
    public static Key of(String text) {
        byte[] bytes;
        try {
            bytes = Utf8.encode(text);
        } catch (CharacterCodingException e) {
            throw new UsageException("a key has half a surrogate pair, which is no text");
        }
        return new Key(sized(bytes), text);
    }

    /**
     * A key of any bytes. Equal to the text key of the same bytes.
     *
     * @throws UsageException if it is empty or too long
     */
    public static Key of(byte[] bytes) {
        return new Key(sized(bytes.clone()), null);
    }

    static Key ofBase64url(String text) {
        return new Key(Base64.getUrlDecoder().decode(text), null);
    }

    private static byte[] sized(byte[] bytes) {
        if (bytes.length == 0 || bytes.length > MOST_BYTES) {
            throw new UsageException("a key has 1 to 65,536 bytes, this one " + bytes.length);
        }
        return bytes;
    }

    /** A copy of its bytes. */
    public byte[] bytes() {
        return bytes.clone();
    }

    /**
     * Its text.
     *
     * @throws DecodeException if its bytes are not UTF-8
     */
    public String text() {
        if (text != null) {
            return text;
        }
        try {
            return Utf8.decode(bytes);
        } catch (CharacterCodingException e) {
            throw new DecodeException("the key " + this + " is not UTF-8: take its bytes", e);
        }
    }

    int size() {
        return bytes.length;
    }

    /** At most so many bytes it takes in the body of a batch, with its comma: a control character six. */
    int bytesInBatch() {
        if (text == null) {
            return (bytes.length + 2) / 3 * 4 + 3;
        }
        int size = bytes.length + 3;
        for (byte b : bytes) {
            if (b >= 0 && b < 0x20) {
                size += 5;
            } else if (b == '"' || b == '\\') {
                size++;
            }
        }
        return size;
    }

    /** Whether it can stand in a path as it is. */
    boolean isPlain() {
        // Clients and proxies resolve "." and ".." away.
        return text != null && !text.equals(".") && !text.equals("..");
    }

    /** Whether it was given as text, and so goes as text in JSON. */
    boolean isText() {
        return text != null;
    }

    String base64url() {
        return Base64.getUrlEncoder().withoutPadding().encodeToString(bytes);
    }

    byte[] rawBytes() {
        return bytes;
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof Key && Arrays.equals(bytes, ((Key) other).bytes);
    }

    @Override
    public int hashCode() {
        return Arrays.hashCode(bytes);
    }

    /** By bytes, as the server orders keys. */
    @Override
    public int compareTo(Key other) {
        return Arrays.compareUnsigned(bytes, other.bytes);
    }

    /** Its text, or its bytes in base64url if they are none. */
    @Override
    public String toString() {
        if (text != null) {
            return text;
        }
        try {
            return Utf8.decode(bytes);
        } catch (CharacterCodingException e) {
            return "base64url:" + base64url();
        }
    }
}
