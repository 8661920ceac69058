"""Batches of 100 keys from Tidetable with this client, and from Redis with redis-py, taking turns in one run.

    beside_redis.py TIDETABLE [--records 200000] [--batch 100] [--rounds 40] [--seconds 0.3] [--json FILE]

Both hold the same records: JSON of about 430 bytes, ten recommendations for each learner. Both servers run on the first
processor this may use, the client on the last. Each round asks every reader for the same random keys for a short while, in another order each
time, so that whatever else the machine does disturbs all alike; what is shown is the median of the rounds, and ratios of medians. Beside it
stands the processor time that a key takes the client: that of the server is what `make bench-peers` measures.

redis-py gives the stored bytes; `get_many` gives decoded JSON. So there are readers of either kind, and like is
compared with like: decoded with decoded (`json.loads` on each value of redis-py), undecoded with undecoded (`raw=True`). What
`get_many` as it is makes beside redis-py's bytes is shown, too: there one side decodes and the other does not. Before
anything is measured every reader's values are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Callable

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from tidetable import Client  # noqa: E402

SUBJECTS = "algebra anatomy art bayes biology botany chemistry databases ecology ethics finance genetics greek history law logic".split()


def value(number: int) -> list[dict[str, Any]]:
    draw = random.Random(number)
    score = 9000 + draw.randrange(1000)
    items = []
    for _ in range(10):
        course = f"{draw.choice(('', 'adv-'))}{draw.choice(SUBJECTS)}{draw.choice(('', '-1', '-2', '-3'))}"
        items.append({"course": course, "score": score / 10_000})
        score -= 1 + draw.randrange(850)
    return items


def key(number: int) -> str:
    return f"learner:{number:07}"


def free_port() -> int:
    with socket.socket() as chooser:
        chooser.bind(("127.0.0.1", 0))
        port: int = chooser.getsockname()[1]
        return port


def started(command: list[str], port: int, core: int, home: str) -> "subprocess.Popen[bytes]":
    with open(Path(home, "log"), "ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=home)
    os.sched_setaffinity(process.pid, {core})
    ends = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return process
        except OSError:
            if process.poll() is not None or time.monotonic() > ends:
                raise SystemExit(f"{command[0]} does not start: see {home}/log") from None
            time.sleep(0.05)


Reader = Callable[[Sequence[str]], Any]


def readers(tidetable: str, redis_port: int) -> dict[str, Reader]:
    import redis

    made: dict[str, Reader] = {}
    client = Client(tidetable)
    made["tidetable"] = lambda keys: client.get_many("recs", keys)
    made["tidetable raw"] = lambda keys: client.get_many("recs", keys, raw=True)
    from redis._parsers import _RESP2Parser

    # Chosen by hand, for redis-py takes hiredis by itself where it is installed.
    parsers: dict[str, Any] = {"redis-py": _RESP2Parser}
    try:
        import hiredis  # noqa: F401
        from redis._parsers import _HiredisParser

        parsers["redis-py + hiredis"] = _HiredisParser
    except ImportError:
        pass
    for name, kind in parsers.items():
        pool = redis.ConnectionPool(host="127.0.0.1", port=redis_port, parser_class=kind, protocol=2)
        server = redis.Redis(connection_pool=pool)
        made[name] = server.mget
        made[f"{name}, json.loads"] = lambda keys, server=server: [json.loads(one) for one in server.mget(keys)]  # type: ignore[misc]
    try:
        import orjson
    except ImportError:
        return made
    fast = Client(tidetable, loads=orjson.loads)
    made["tidetable, orjson"] = lambda keys: fast.get_many("recs", keys)
    for name in parsers:
        server_mget = made[name]
        made[f"{name}, orjson"] = lambda keys, mget=server_mget: [orjson.loads(one) for one in mget(keys)]  # type: ignore[misc]
    return made


def decoded(answer: Any) -> list[Any]:
    values = list(answer.values()) if isinstance(answer, dict) else list(answer)
    return [json.loads(one) if isinstance(one, bytes) else one for one in values]


PAIRS = (
    ("tidetable", "redis-py, json.loads", "decoded, both"),
    ("tidetable raw", "redis-py", "undecoded, both"),
    ("tidetable", "redis-py", "decoded beside undecoded"),
    ("tidetable, orjson", "redis-py", "decoded by orjson beside undecoded"),
    ("tidetable, orjson", "redis-py, orjson", "decoded by orjson, both"),
    ("tidetable", "redis-py + hiredis, json.loads", "decoded, both, redis-py with hiredis"),
    ("tidetable raw", "redis-py + hiredis", "undecoded, both, redis-py with hiredis"),
    ("tidetable, orjson", "redis-py + hiredis, orjson", "decoded by orjson, both, redis-py with hiredis"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tidetable")
    parser.add_argument("--redis", default=shutil.which("redis-server") or "redis-server")
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--json")
    given = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    home = tempfile.mkdtemp(prefix="tidetable-bench-")
    processes: list["subprocess.Popen[bytes]"] = []
    try:
        ports = free_port(), free_port()
        binary = os.path.realpath(given.tidetable)
        serve = [binary, "serve", "--data", f"{home}/data", "--listen", f"127.0.0.1:{ports[0]}"]
        processes.append(started(serve, ports[0], cores[0], home))
        redis_command = [
            given.redis,
            "--port",
            str(ports[1]),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
            home,
        ]
        processes.append(started(redis_command, ports[1], cores[0], home))
        measure(f"http://127.0.0.1:{ports[0]}", ports[1], cores[-1], given)
    finally:
        for process in processes:
            process.terminate()
            process.wait(30)
        shutil.rmtree(home, ignore_errors=True)


def fill(tidetable: str, redis_port: int, records: int) -> None:
    import redis

    server = redis.Redis(host="127.0.0.1", port=redis_port)
    with Client(tidetable) as client:
        rows = ({"learner": key(number), "recs": value(number)} for number in range(records))
        version = client.publish(rows, "recs", key="learner", value="recs")
    size = int(version.raw.get("raw_bytes") or 0) // records
    print(f"{version.records} records, key and value of about {size} bytes")
    for begin in range(0, records, 1000):
        texts = {key(n): json.dumps(value(n), separators=(",", ":")) for n in range(begin, min(begin + 1000, records))}
        server.mset(texts)  # type: ignore[arg-type]


def measure(tidetable: str, redis_port: int, core: int, given: argparse.Namespace) -> None:
    fill(tidetable, redis_port, given.records)
    os.sched_setaffinity(0, {core})
    made = readers(tidetable, redis_port)
    draw = random.Random(11)
    batches = [[key(draw.randrange(given.records)) for _ in range(given.batch)] for _ in range(500)]
    batches = [list(dict.fromkeys(batch)) for batch in batches]
    for batch in batches[:20]:
        answers = {name: decoded(read(batch)) for name, read in made.items()}
        first = answers["redis-py"]
        wrong = [name for name, answer in answers.items() if answer != first]
        if wrong:
            raise SystemExit(f"other values than those of redis-py come from {', '.join(wrong)}")
    rates: dict[str, list[float]] = {name: [] for name in made}
    costs: dict[str, list[float]] = {name: [] for name in made}
    for turn in range(given.rounds):
        order = list(made)
        random.Random(turn).shuffle(order)
        for name in order:
            keys_per_second, cost = rate(made[name], batches, given.seconds)
            rates[name].append(keys_per_second)
            costs[name].append(cost)
    medians = {name: statistics.median(found) for name, found in rates.items()}
    show(medians, {name: statistics.median(found) for name, found in costs.items()}, rates, given)


def rate(read: Reader, batches: list[list[str]], seconds: float) -> tuple[float, float]:
    """Keys a second, and microseconds of the client's processor time for a key."""
    for batch in batches[:5]:
        read(batch)
    count = turn = 0
    worked = time.process_time()
    begin = time.perf_counter()
    while True:
        batch = batches[turn % len(batches)]
        read(batch)
        count += len(batch)
        turn += 1
        passed = time.perf_counter() - begin
        if passed >= seconds:
            return count / passed, (time.process_time() - worked) / count * 1e6


def show(
    medians: dict[str, float], costs: dict[str, float], rates: dict[str, list[float]], given: argparse.Namespace
) -> None:
    print(f"\n{'reader':32}{'keys/s':>9}{'client us/key':>15}   lowest and highest of {given.rounds} rounds")
    for name, median in sorted(medians.items(), key=lambda pair: -pair[1]):
        spread = f"{min(rates[name]):,.0f} .. {max(rates[name]):,.0f}"
        print(f"{name:32}{median:9,.0f}{costs[name]:15.2f}   {spread}")
    print()
    ratios = []
    for ours, theirs, what in PAIRS:
        if ours in medians and theirs in medians:
            ratio = medians[ours] / medians[theirs]
            ratios.append({"ours": ours, "theirs": theirs, "what": what, "ratio": ratio})
            print(
                f"{ratio:5.2f}  {ours} / {theirs}  ({what}; processor time of the client {costs[ours] / costs[theirs]:.2f})"
            )
    if given.json:
        Path(given.json).write_text(
            json.dumps({"medians": medians, "client_us_per_key": costs, "rates": rates, "ratios": ratios}, indent=1)
        )


if __name__ == "__main__":
    main()
