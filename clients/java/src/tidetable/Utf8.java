package tidetable;

import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;

/** Text and its bytes, with an error where Java would put a question mark in silence. */
final class Utf8 {
    private Utf8() {}

    static String decode(byte[] bytes) throws CharacterCodingException {
        return decode(bytes, 0, bytes.length);
    }

    static String decode(byte[] bytes, int from, int to) throws CharacterCodingException {
        String text = new String(bytes, from, to - from, StandardCharsets.UTF_8);
        // What stands for broken bytes may also stand there for itself: look closer, which is rare.
        if (text.indexOf('\uFFFD') >= 0) {
            StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes, from, to - from));
        }
        return text;
    }

    /** The bytes of a text; one with half a surrogate pair has none. */
    static byte[] encode(String text) throws CharacterCodingException {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        if (text.indexOf('?') < 0 && indexOf(bytes, (byte) '?') < 0) {
            return bytes;
        }
        StandardCharsets.UTF_8.newEncoder().encode(CharBuffer.wrap(text));
        return bytes;
    }

    private static int indexOf(byte[] bytes, byte wanted) {
        for (int at = 0; at < bytes.length; at++) {
            if (bytes[at] == wanted) {
                return at;
            }
        }
        return -1;
    }
}
