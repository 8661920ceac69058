package tidetable;

import java.net.http.HttpHeaders;
import java.time.DateTimeException;
import java.time.Duration;
import java.time.Instant;
import java.time.OffsetDateTime;
import java.time.ZonedDateTime;
import java.time.format.DateTimeFormatter;
import java.util.Locale;
import java.util.Optional;

/**
 * A whole answer.
 *
 * @param sentAt when its request was sent, by {@link System#nanoTime()}
 */
record Reply(int status, HttpHeaders headers, byte[] body, long sentAt) {

    Optional<String> header(String name) {
        return headers.firstValue(name);
    }

    /** Without its parameters, in small letters; empty if none is told. */
    String contentType() {
        String told = header("Content-Type").orElse("");
        int end = told.indexOf(';');
        return (end < 0 ? told : told.substring(0, end)).trim().toLowerCase(Locale.ROOT);
    }

    boolean isJson() {
        String type = contentType();
        return type.equals("application/json") || type.endsWith("+json");
    }

    /** Whether it says where its body ends, so that a body that was cut off cannot pass for one. */
    boolean saysItsEnd() {
        return header("Content-Length").isPresent() || header("Transfer-Encoding").isPresent();
    }

    /** The version that it was read from, if it says. */
    Optional<Long> version() {
        try {
            return header("Tidetable-Version").map(Long::valueOf);
        } catch (NumberFormatException e) {
            throw new BrokenAnswer("its Tidetable-Version is no number");
        }
    }

    /**
     * The instant that its data describes; null if it tells none, or one that Java has no word for. The
     * server takes every form of RFC 3339 and tells it as it was given: it decides no value.
     */
    Instant asOf() {
        try {
            return header("Tidetable-As-Of").map(Reply::instant).orElse(null);
        } catch (DateTimeException e) {
            return null;
        }
    }

    /** A space may stand for the T, a leap second is told, and fractions have any number of digits. */
    private static Instant instant(String text) {
        String common =
                text.replaceFirst("^(.{10}) ", "$1T")
                        .replaceFirst("^(.{16}):60", "$1:59")
                        .replaceFirst("(\\.[0-9]{9})[0-9]+", "$1");
        return OffsetDateTime.parse(common).toInstant();
    }

    /** How long to wait at least before the next try: seconds, or until a date. */
    Duration retryAfter() {
        String told = header("Retry-After").orElse("").trim();
        if (told.matches("[0-9]{1,9}")) {
            return Duration.ofSeconds(Long.parseLong(told));
        }
        try {
            Instant until =
                    ZonedDateTime.parse(told, DateTimeFormatter.RFC_1123_DATE_TIME).toInstant();
            Duration wait = Duration.between(Instant.now(), until);
            Duration most = Duration.ofDays(1000);
            return wait.isNegative() ? Duration.ZERO : wait.compareTo(most) > 0 ? most : wait;
        } catch (DateTimeException e) {
            return Duration.ZERO;
        }
    }
}
