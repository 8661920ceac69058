package tidetable;

import java.nio.charset.CharacterCodingException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;

/**
 * Goes over JSON text once. What it passes over it has checked: text that is cut off anywhere, or
 * is no JSON, is {@link Malformed}, never half a value.
 */
final class JsonScanner {
    /** As deep as a value may be nested. The server takes no row of more than 120. */
    private static final int DEEPEST = 512;

    private final byte[] text;
    private final int end;
    private int at;
    private int depth;

    JsonScanner(byte[] text) {
        this.text = text;
        this.end = text.length;
    }

    /** The text is no JSON, or not all of it. */
    static final class Malformed extends RuntimeException {
        private static final long serialVersionUID = 1L;

        Malformed(String message) {
            super(message);
        }
    }

    /** A text that is one value and nothing else. */
    static Json whole(byte[] text) {
        JsonScanner scanner = new JsonScanner(text);
        Json value = scanner.value();
        scanner.finish();
        return value;
    }

    /** Checks a text that is to be one value and nothing else. */
    static void check(byte[] text) {
        JsonScanner scanner = new JsonScanner(text);
        scanner.skip();
        scanner.finish();
    }

    /** Nothing may follow. */
    void finish() {
        space();
        if (at != end) {
            throw malformed("something follows the value");
        }
    }

    /** An object: {@code member} is told each name and has to read or skip its value. */
    void members(Consumer<String> member) {
        open('{');
        if (next() == '}') {
            close();
            return;
        }
        while (true) {
            if (next() != '"') {
                throw malformed("expected the name of a member");
            }
            String name = string();
            if (next() != ':') {
                throw malformed("expected ':'");
            }
            at++;
            member.accept(name);
            if (ends('}')) {
                return;
            }
        }
    }

    /** An array: {@code item} has to read or skip each of its items. */
    void items(Runnable item) {
        open('[');
        if (next() == ']') {
            close();
            return;
        }
        do {
            item.run();
        } while (!ends(']'));
    }

    /** The value here, as it is written: checked, and copied. */
    byte[] raw() {
        space();
        int from = at;
        skip();
        return Arrays.copyOfRange(text, from, at);
    }

    /** A string. */
    String string() {
        if (next() != '"') {
            throw malformed("expected a string");
        }
        int from = ++at;
        while (at < end && text[at] != '"' && text[at] != '\\' && (text[at] & 0xFF) >= 0x20) {
            at++;
        }
        if (at < end && text[at] == '"') {
            return utf8(from, at++);
        }
        return escaped(from);
    }

    /** A whole number that is not negative. */
    long whole() {
        String number = number(next());
        try {
            long value = Long.parseLong(number);
            if (value >= 0) {
                return value;
            }
            throw malformed("expected a whole number");
        } catch (NumberFormatException e) {
            throw malformed("expected a whole number");
        }
    }

    /** {@code true} or {@code false}. */
    boolean bool() {
        if (next() == 't') {
            word("true");
            return true;
        }
        word("false");
        return false;
    }

    /** Whether {@code null} stands here; if it does, it is passed. */
    boolean isNull() {
        if (next() != 'n') {
            return false;
        }
        word("null");
        return true;
    }

    /** Any value. */
    Json value() {
        byte first = next();
        switch (first) {
            case '{':
                Map<String, Json> members = new LinkedHashMap<>();
                members(name -> members.put(name, value()));
                return new Json.JsonObject(members);
            case '[':
                List<Json> items = new ArrayList<>();
                items(() -> items.add(value()));
                return new Json.JsonArray(items);
            case '"':
                return new Json.JsonString(string());
            case 't', 'f':
                return new Json.JsonBoolean(bool());
            case 'n':
                word("null");
                return Json.JsonNull.NULL;
            default:
                return new Json.JsonNumber(number(first));
        }
    }

    /** Passes over any value. */
    void skip() {
        byte first = next();
        switch (first) {
            case '{' -> members(name -> skip());
            case '[' -> items(this::skip);
            case '"' -> string();
            case 't', 'f' -> bool();
            case 'n' -> word("null");
            default -> number(first);
        }
    }

    private void open(char bracket) {
        if (next() != bracket) {
            throw malformed("expected '" + bracket + "'");
        }
        at++;
        if (++depth > DEEPEST) {
            throw malformed("nested more than " + DEEPEST + " deep");
        }
    }

    private void close() {
        at++;
        depth--;
    }

    /** After a member or item: a comma, or the bracket that closes. */
    private boolean ends(char bracket) {
        byte found = next();
        if (found == bracket) {
            close();
            return true;
        }
        if (found != ',') {
            throw malformed("expected ',' or '" + bracket + "'");
        }
        at++;
        return false;
    }

    private String number(byte first) {
        int from = at;
        if (first == '-') {
            at++;
        }
        if (at < end && text[at] == '0') {
            at++;
        } else {
            digits();
        }
        if (at < end && text[at] == '.') {
            at++;
            digits();
        }
        if (at < end && (text[at] == 'e' || text[at] == 'E')) {
            at++;
            if (at < end && (text[at] == '+' || text[at] == '-')) {
                at++;
            }
            digits();
        }
        return utf8(from, at);
    }

    private void digits() {
        int from = at;
        while (at < end && text[at] >= '0' && text[at] <= '9') {
            at++;
        }
        if (at == from) {
            throw malformed("expected a value");
        }
    }

    /** A string with an escape in it, which began at {@code from}. */
    private String escaped(int from) {
        StringBuilder out = new StringBuilder();
        int copied = from;
        while (true) {
            if (at >= end) {
                throw malformed("a string has no end");
            }
            byte b = text[at];
            if (b == '"') {
                out.append(utf8(copied, at++));
                return out.toString();
            } else if (b == '\\') {
                out.append(utf8(copied, at++));
                out.append(escape());
                copied = at;
            } else if ((b & 0xFF) < 0x20) {
                throw malformed("a control character stands in a string");
            } else {
                at++;
            }
        }
    }

    private char escape() {
        if (at >= end) {
            throw malformed("a string has no end");
        }
        byte b = text[at++];
        return switch (b) {
            case '"', '\\', '/' -> (char) b;
            case 'b' -> '\b';
            case 'f' -> '\f';
            case 'n' -> '\n';
            case 'r' -> '\r';
            case 't' -> '\t';
            case 'u' -> unicode();
            default -> throw malformed("an escape that JSON does not have");
        };
    }

    private char unicode() {
        int code = 0;
        for (int digit = 0; digit < 4; digit++, at++) {
            int value = at < end ? Character.digit((char) (text[at] & 0x7F), 16) : -1;
            if (value < 0 || text[at] < 0) {
                throw malformed("\\u takes four hexadecimal digits");
            }
            code = code << 4 | value;
        }
        return (char) code;
    }

    private void word(String word) {
        for (int n = 0; n < word.length(); n++, at++) {
            if (at >= end || text[at] != word.charAt(n)) {
                throw malformed("expected " + word);
            }
        }
    }

    /** The byte that comes after space. */
    private byte next() {
        space();
        if (at >= end) {
            throw malformed("it ends too early");
        }
        return text[at];
    }

    private void space() {
        while (at < end
                && (text[at] == ' ' || text[at] == '\n' || text[at] == '\r' || text[at] == '\t')) {
            at++;
        }
    }

    private String utf8(int from, int to) {
        try {
            return Utf8.decode(text, from, to);
        } catch (CharacterCodingException e) {
            throw malformed("a string is not UTF-8");
        }
    }

    private Malformed malformed(String what) {
        return new Malformed(what + ", at byte " + at);
    }
}
