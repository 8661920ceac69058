package tidetable;

import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Function;

/** A server that answers as a test says: also with bytes that no server should send. */
final class Stub implements AutoCloseable {
    record Request(String method, String target, Map<String, String> headers, String body) {
        Json json() {
            return Json.parse(body);
        }
    }

    /** What is sent for a request; {@code null} is nothing, and the connection is closed. */
    private final Function<Request, String> answers;

    private final ServerSocket socket;
    final List<Request> requests = Collections.synchronizedList(new ArrayList<>());

    Stub(Function<Request, String> answers) throws IOException {
        this.answers = answers;
        this.socket = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
        daemon(this::accept);
    }

    String address() {
        return "http://127.0.0.1:" + socket.getLocalPort();
    }

    TidetableBuilder client() {
        return Tidetable.builder().server(address()).token(null);
    }

    static String json(String body, String... headers) {
        return answer(200, "application/json", body, headers);
    }

    static String problem(int status, String code, String... headers) {
        String body =
                "{\"code\":\"" + code + "\",\"status\":" + status
                        + ",\"detail\":\"it is so\",\"request_id\":\"r-1\",\"retryable\":false}";
        return answer(status, "application/problem+json", body, headers);
    }

    static String answer(int status, String type, String body, String... headers) {
        StringBuilder out = new StringBuilder("HTTP/1.1 " + status + " X\r\n");
        out.append("Content-Type: ").append(type).append("\r\n");
        for (String header : headers) {
            out.append(header).append("\r\n");
        }
        int length = body.getBytes(StandardCharsets.UTF_8).length;
        return out + "Content-Length: " + length + "\r\n\r\n" + body;
    }

    private void accept() {
        while (!socket.isClosed()) {
            try {
                Socket connection = socket.accept();
                daemon(() -> serve(connection));
            } catch (IOException e) {
                return;
            }
        }
    }

    private void serve(Socket connection) {
        try (connection) {
            InputStream in = new BufferedInputStream(connection.getInputStream());
            for (Request request = read(in); request != null; request = read(in)) {
                requests.add(request);
                String answer = answers.apply(request);
                if (answer == null) {
                    return;
                }
                connection.getOutputStream().write(answer.getBytes(StandardCharsets.UTF_8));
                connection.getOutputStream().flush();
                if (answer.contains("Connection: close")) {
                    return;
                }
            }
        } catch (IOException e) {
            // The client went away.
        }
    }

    private static Request read(InputStream in) throws IOException {
        String first = line(in);
        if (first == null) {
            return null;
        }
        String[] parts = first.split(" ");
        Map<String, String> headers = new TreeMap<>(String.CASE_INSENSITIVE_ORDER);
        for (String line = line(in); line != null && !line.isEmpty(); line = line(in)) {
            int colon = line.indexOf(':');
            headers.put(line.substring(0, colon), line.substring(colon + 1).trim());
        }
        int length = Integer.parseInt(headers.getOrDefault("Content-Length", "0"));
        String body = new String(in.readNBytes(length), StandardCharsets.UTF_8);
        return new Request(parts[0], parts[1], headers, body);
    }

    private static String line(InputStream in) throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        for (int b = in.read(); b >= 0; b = in.read()) {
            if (b == '\n') {
                return out.toString(StandardCharsets.UTF_8).trim();
            }
            out.write(b);
        }
        return null;
    }

    private static void daemon(Runnable work) {
        Thread thread = new Thread(work, "stub");
        thread.setDaemon(true);
        thread.start();
    }

    @Override
    public void close() throws IOException {
        socket.close();
    }
}
