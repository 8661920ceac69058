"""Requests to Tidetable that are not load: pushes, questions, activations."""

import http.client
import json
import os
import socket
import sys
import time

from .errors import Failed


def request(port, method, path, body=None, seconds=600, connection=None):
    """Status, headers and JSON of an answer."""
    connection = connection or http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    body = None if body is None else json.dumps(body)
    connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
    answer = connection.getresponse()
    text = answer.read()
    return answer.status, answer.headers, json.loads(text) if text else None


def ask(port, method, path, body=None, seconds=600):
    """The JSON of an answer that is a success."""
    status, _, answer = request(port, method, path, body, seconds)
    if not 200 <= status < 300:
        raise Failed(f"Tidetable answered {method} {path} with {status}: {answer}")
    return answer


def wait_until_ready(port, process, seconds=300):
    end = time.monotonic() + seconds
    while True:
        process.check()
        status, _, answer = request(port, "GET", "/readyz")
        if status == 200:
            return
        if time.monotonic() > end:
            raise Failed(f"Tidetable is not ready after {seconds} s: {answer}")
        time.sleep(0.02)


def value(port, dataset, key):
    """The stored bytes of a key."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", f"/v1/datasets/{dataset}/keys/{key}")
    answer = connection.getresponse()
    found = answer.read()
    if answer.status != 200:
        raise Failed(f"Tidetable answered {key} with {answer.status}: {found[:500]}")
    return found


def push(port, dataset, source, query="", seconds=3600):
    """Pushes a file in one request. The kernel sends it (sendfile), so that the client costs
    next to nothing. The version's resource."""
    size = os.path.getsize(source)
    form = "parquet" if source.endswith(".parquet") else "ndjson"
    path = f"/v1/datasets/{dataset}/push?key=learner&value=recs&format={form}{query}"
    head = (f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/octet-stream\r\n"
            f"Content-Length: {size}\r\n\r\n")
    with socket.create_connection(("127.0.0.1", port), seconds) as stream, open(source, "rb") as file:
        stream.sendall(head.encode())
        stream.sendfile(file)
        answer = http.client.HTTPResponse(stream)
        answer.begin()
        text = answer.read()
    if answer.status not in (201, 202):
        raise Failed(f"Tidetable answered the push of {source} with {answer.status}: {text[:1000]}")
    return json.loads(text)


if __name__ == "__main__":
    push(int(sys.argv[1]), *sys.argv[2:])
