package tidetable;

import java.util.Optional;
import java.util.Set;

/** What an answer that is an error says, if it is a problem document (RFC 9457); else what can be said. */
record Problem(int status, String code, String detail, String requestId, boolean retryable) {
    private static final Set<String> NOT_FOUND =
            Set.of(
                    "dataset_not_found",
                    "no_current_version",
                    "version_not_found",
                    "version_deleted");

    static Problem of(Reply reply) {
        String id = reply.header("X-Request-Id").orElse(null);
        if (reply.contentType().equals("application/problem+json")) {
            try {
                return of(JsonScanner.whole(reply.body()), reply.status(), id);
            } catch (JsonScanner.Malformed e) {
                // An error all the same, of which less is known.
            }
        }
        return new Problem(reply.status(), null, "", id, false);
    }

    /** That of one dataset among several, which has its own status. */
    static Problem ofPart(Json document, Reply reply) {
        int status = document.get("status").flatMap(Problem::status).orElse(reply.status());
        return of(document, status, reply.header("X-Request-Id").orElse(null));
    }

    private static Problem of(Json document, int status, String requestId) {
        return new Problem(
                status,
                text(document, "code").orElse(null),
                text(document, "detail").orElse(""),
                text(document, "request_id").orElse(requestId),
                document.get("retryable").map(Json::toString).orElse("").equals("true"));
    }

    private static Optional<Integer> status(Json json) {
        return json instanceof Json.JsonNumber number && number.text().matches("[1-5][0-9][0-9]")
                ? Optional.of(Integer.valueOf(number.text()))
                : Optional.empty();
    }

    private static Optional<String> text(Json document, String name) {
        return document.get(name)
                .filter(Json.JsonString.class::isInstance)
                .map(Json::asString);
    }

    ServerException exception() {
        return code != null && NOT_FOUND.contains(code)
                ? new NotFoundException(this)
                : new ServerException(this);
    }

    String message() {
        StringBuilder out = new StringBuilder("the server answered ").append(status);
        if (code != null) {
            out.append(' ').append(code);
        }
        if (!detail.isEmpty()) {
            out.append(": ").append(detail);
        }
        if (requestId != null) {
            out.append(" (request ").append(requestId).append(')');
        }
        return out.toString();
    }
}
