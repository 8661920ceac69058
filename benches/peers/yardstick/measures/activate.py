"""Activating one of two warmed versions, and rolling back: from request to answer. After each
answer, connections that were open all along are asked at once which version they read."""

import http.client
import json
import time

from .. import client
from ..data import key
from ..errors import Failed
from ..systems import DATASET

ACTIVATIONS, ROLLBACKS, READERS = 20, 10, 8


def measure(bench):
    server = bench.tidetable_with_two_versions()
    readers = [http.client.HTTPConnection("127.0.0.1", server.port, timeout=60) for _ in range(READERS)]
    check(readers, current(server))
    activate(server, 1)
    activate(server, 2)
    found = {"activate": [], "rollback": []}
    for number in range(ACTIVATIONS):
        version = 1 + number % 2
        found["activate"].append(activate(server, version))
        check(readers, version)
    for _ in range(ROLLBACKS):
        found["rollback"].append(roll_back(server))
        check(readers, 1)
        activate(server, 2)
    for name, samples in found.items():
        bench.say(f"  {name}: {min(samples):.2f} to {max(samples):.2f} ms")
    return {name: [{"ms": ms} for ms in samples] for name, samples in found.items()}


def current(server):
    return client.ask(server.port, "GET", f"/v1/datasets/{DATASET}")["current"]


def activate(server, version):
    """Milliseconds. With force, since a version that was rolled back from is bad."""
    return post(server, "activate", {"version": version, "force": True, "reason": "bench-peers"})


def roll_back(server):
    return post(server, "rollback", {"reason": "bench-peers"})


def post(server, what, body):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.connect()
    start = time.monotonic()
    connection.request("POST", f"/v1/datasets/{DATASET}/{what}", json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    took = (time.monotonic() - start) * 1e3
    connection.close()
    if answer.status != 200:
        raise Failed(f"Tidetable answered {what} {body} with {answer.status}: {text[:500]}")
    return took


def check(readers, version):
    for reader in readers:
        reader.request("GET", f"/v1/datasets/{DATASET}/keys/{key(1)}")
        answer = reader.getresponse()
        answer.read()
        seen = answer.headers["Tidetable-Version"]
        if seen != str(version):
            raise Failed(f"version {version} was current, and a read after that came from version {seen}")
