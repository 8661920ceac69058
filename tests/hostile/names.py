"""Hostile names in every place that takes one: refused, and no file anywhere is made, changed or removed.

A place is a route with one hole. What may be any text (keys, labels, reasons, prefixes, cursors) must not be
taken for a path either: there the answer may be any that blames nobody, but the file system must not show it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator
from urllib.parse import quote_from_bytes

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from server import PATIENCE, Server, Wrong  # noqa: E402
from skips import left_out  # noqa: E402

LEAST_NAMES = 150


def names() -> list[bytes]:
    """What must be no name of a dataset, version or part. None of them is a whole number."""
    found: list[bytes] = [b".", b"..", b"...", b"~", b"*", b"?", b"%", b"-", b"_", b" ", b"-a", b"_a", b".a", b"a ", b" a", b"+", b"@", b"$HOME", b"`id`",
                          b"$(id)", b";id", b"|id", b"&id", b"'", b'"', b"a'b", b'a"b', b"<a>", b"{a}", b"[a]", b"a:b", b"a,b", b"a=b", b"a#b", b"a%b",
                          b"a^b", b"{dataset}", b"{version}", b"${jndi:ldap://x}", b"..;", b"..;/", b"a;x=1"]
    paths = [b"/", b"//", b"/etc/passwd", b"//etc/passwd", b"etc/passwd/", b"../", b"../..", b"../../../../etc/passwd", b"./a", b"a/..", b"a/../b", b"a/./b",
             b"a//b", b"a/", b"/a", b"..//..//etc", b"....//....//etc", b"..././etc", b"/proc/self/environ", b"/dev/null", b"/dev/fd/0", b"file:///etc/passwd",
             b"http://127.0.0.1/x", b"../staging", b"../journal", b"../LOCK", b"../../data", b"probe/1", b"probe/1/manifest.json", b"../datasets/probe"]
    windows = [b"\\", b"..\\", b"..\\..\\etc", b"a\\b", b"C:", b"C:\\x", b"c:/x", b"\\\\host\\share", b"\\\\?\\C:\\x", b"CON", b"PRN", b"AUX", b"NUL", b"COM1", b"LPT1",
               b"CON.txt", b"a.", b"a..", b"a::$DATA", b"A", b"PROBE", b"Probe", b"pROBE"]
    controls = [bytes([byte]) for byte in (0, 1, 7, 8, 9, 10, 11, 13, 27, 127)]
    controls += [b"a\0", b"\0a", b"probe\0", b"probe\0.json", b"a\nb", b"a\r\nb", b"a\r\nX-Injected: 1\r\n\r\n", b"a\x1b[31mred", b"probe\n", b"\nprobe", b"a\tb"]
    unicode = ["\u00e9", "e\u0301", "\u212b", "\ufb01", "\uff0e\uff0e\uff0f", "\u2024\u2024", "\u2215", "\u2044", "\u29f8", "\u202e", "\u200b", "a\u200b", "\ufeff", "\ufeffa",
               "\u0430", "\u0440robe", "prob\u0435", "\u00a0", "\u2028", "\U0001f4a9", "\u0130", "\u017f", "\u212a", "\uff21", "\u0661", "\u00b9", "\ufffd",
               "a\u0300" * 10, "\U000e0061", "\u3002\u3002"]
    broken = [b"\xff", b"\xfe\xff", b"\xc0\xae\xc0\xae", b"\xc0\xaf", b"\xe0\x80\xae", b"\xf0\x80\x80\xae", b"\xed\xa0\x80", b"\x80", b"a\xc3", b"\xc0\x80",
              b"\xfc\x80\x80\x80\x80\xae", b"..\xc0\xaf..", b"\xe2\x82", b"\xf4\x90\x80\x80"]
    twice = [b"%2e%2e%2f", b"%2e%2e", b"%2f", b"..%2f", b"%252e%252e", b"..%252f", b"%00", b"a%00", b"%c0%af", b"%u002e", b"&#46;&#46;", b"\\u002e\\u002e", b"%5c", b"%0d%0a"]
    long = [b"a" * 256, b"a" * 4096, b"a" * 10_000, b"../" * 1000, b"\xc3\xa9" * 500, b"." * 256, b"-" * 256]
    found += paths + windows + controls + [text.encode() for text in unicode] + broken + twice + long
    return list(dict.fromkeys(found))


@dataclass
class Place:
    """Where a name may stand: `{}` in path or body. `wanted`: the statuses that are right."""

    method: str
    path: str
    body: str = ""
    wanted: tuple[int, ...] = (400, 404)
    # What fits this is a name here, and is not sent.
    fits: str = r"(?!)"


ANYTHING = (200, 201, 202, 304, 400, 404, 409, 410, 413, 414, 422, 431)


def places() -> list[Place]:
    one = "/v1/datasets/{}"
    of = "/v1/datasets/probe"
    rows = '{"k":"x"}\n'
    found = [
        Place("GET", one), Place("PUT", one, "{{}}"), Place("DELETE", one), Place("GET", one + "/keys/x"), Place("HEAD", one + "/keys/x"),
        Place("GET", one + "/keys/x/history"), Place("POST", one + "/batch-get", '{{"keys":["x"]}}'), Place("GET", one + "/scan"),
        Place("POST", one + "/push?key=k&format=ndjson", rows.replace("{", "{{").replace("}", "}}")), Place("GET", one + "/versions"),
        Place("POST", one + "/versions", '{{"key":["k"]}}'), Place("GET", one + "/versions/1"), Place("DELETE", one + "/versions/1"),
        Place("GET", one + "/versions/1/profile"), Place("GET", one + "/versions/1/parts"), Place("PUT", one + "/versions/1/parts/a", "x"),
        Place("POST", one + "/versions/1/commit", "{{}}"), Place("GET", one + "/history"), Place("GET", one + "/diff?from=1&to=2"),
        Place("GET", one + "/series"), Place("POST", one + "/activate", '{{"version":1}}'), Place("POST", one + "/rollback", "{{}}"),
        Place("POST", one + "/hold", "{{}}"), Place("POST", one + "/release", "{{}}"), Place("GET", one + "/canary"),
        Place("PUT", one + "/canary", '{{"version":1,"percent":5}}'), Place("DELETE", one + "/canary"), Place("POST", one + "/canary/promote", "{{}}"),
        Place("GET", of + "/versions/{}"), Place("DELETE", of + "/versions/{}"), Place("GET", of + "/versions/{}/profile"),
        Place("GET", of + "/versions/{}/parts"), Place("PUT", of + "/versions/{}/parts/a", "x"), Place("POST", of + "/versions/{}/commit", "{{}}"),
        Place("PUT", of + "/versions/2/parts/{}", "x", fits=r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"), Place("GET", of + "/keys/key-1?version={}"), Place("GET", of + "/scan?version={}"),
        Place("GET", of + "/diff?from={}&to=1"), Place("GET", of + "/diff?from=1&to={}"), Place("GET", of + "/keys/key-1?key_encoding={}"),
        Place("GET", of + "/scan?limit={}"), Place("GET", of + "/versions?cursor={}"), Place("GET", of + "/versions/1?wait={}"), Place("GET", of + "/keys/key-1?{}=1"),
        Place("GET", "/v1/{}"), Place("GET", "/console/{}"), Place("GET", "/v1/datasets?cursor={}"),
        Place("POST", of + "/push?key=k&format={}", "x"), Place("POST", of + "/push?key=k&activate={}", "x"), Place("POST", of + "/push?key=k&as_of={}", "x"),
        Place("POST", "/v1/activate", '{{"activations":[{{"dataset":{},"version":1}}]}}'),
        Place("POST", of + "/versions/2/commit", '{{"parts":[{}]}}', (400, 404, 409)), Place("POST", of + "/activate", '{{"version":{}}}'),
        Place("POST", of + "/batch-get", '{{"keys":["x"],"version":{}}}'), Place("POST", of + "/batch-get", '{{"keys":["x"],"key_encoding":{}}}'),
        Place("POST", of + "/batch-get", '{{"keys":["x"],{}:1}}'), Place("PUT", of, '{{"gates":{{"check":{}}}}}'), Place("PUT", of, '{{"compression":{}}}'),
        Place("PUT", of, '{{{}:1}}'), Place("POST", of + "/versions", '{{"key":["k"],"format":{}}}'),
        # Any text is right here, or is no name.
        Place("GET", of + "/keys/{}", wanted=ANYTHING), Place("GET", of + "/keys/{}/history", wanted=ANYTHING),
        Place("GET", of + "/scan?prefix={}", wanted=ANYTHING), Place("GET", of + "/scan?cursor={}", wanted=(400,)),
        Place("GET", of + "/keys/key-1?fields={}", wanted=ANYTHING), Place("POST", of + "/batch-get", '{{"keys":[{}]}}', ANYTHING),
        Place("POST", "/v1/batch-get", '{{"requests":[{{"dataset":{},"keys":["x"]}}]}}', ANYTHING),
        Place("GET", "/docs/{}", wanted=ANYTHING), Place("GET", "/{}", wanted=ANYTHING), Place("GET", "/?{}", wanted=ANYTHING),
    ]
    return found


def on_the_wire(name: bytes) -> Iterator[str]:
    """The forms in which a name can stand in a URL."""
    yield quote_from_bytes(name, safe="")
    yield "".join(f"%{byte:02X}" for byte in name) if len(name) < 3000 else quote_from_bytes(name, safe="")
    # As it stands, where that is a URL at all.
    if re.fullmatch(rb"[!$&'()*+,.:;=@~/\\|^{}a-zA-Z0-9_-]+", name) and b"?" not in name:
        yield name.decode()


def in_json(name: bytes) -> Iterator[str]:
    try:
        text = name.decode()
    except UnicodeDecodeError:
        return
    yield json.dumps(text)
    yield json.dumps(text, ensure_ascii=False)


class Raw:
    """HTTP over a socket, which sends a request line as it is given."""

    def __init__(self, address: str) -> None:
        self._to, self._socket = address, None

    def status(self, method: str, path: str, body: bytes) -> int:
        for attempt in (1, 2):
            fresh = self._socket is None
            try:
                return self._ask(method, path, body)
            except (OSError, ValueError):
                self.close()
                if fresh or attempt == 2:
                    raise
        raise AssertionError

    def _ask(self, method: str, path: str, body: bytes) -> int:
        if self._socket is None:
            host, port = self._to.split(":")
            self._socket = socket.create_connection((host, int(port)), timeout=PATIENCE)
            self._file = self._socket.makefile("rb")
        head = f"{method} {path} HTTP/1.1\r\nhost: {self._to}\r\ncontent-length: {len(body)}\r\n\r\n"
        self._socket.sendall(head.encode("latin-1") + body)
        status = int(self._file.readline().split()[1])
        length, closes, chunked = 0, False, False
        while (line := self._file.readline().strip().lower()):
            length = int(line[15:]) if line.startswith(b"content-length:") else length
            closes |= line == b"connection: close"
            chunked |= line == b"transfer-encoding: chunked"
        if chunked:
            closes = True
        elif method != "HEAD":
            self._file.read(length)
        if closes:
            self.close()
        return status

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def tree(root: Path) -> dict[str, tuple[int, int]]:
    """Everything beneath: size and inode. Not logs, nor what watches of new versions note now and then."""
    found: dict[str, tuple[int, int]] = {}
    for place, dirs, files in os.walk(root):
        dirs[:] = [name for name in dirs if name != "audit"]
        for name in [*dirs, *files]:
            if name in ("server.log", "trace", "watches"):
                continue
            status = os.lstat(os.path.join(place, name))
            found[os.path.join(place, name)] = (0 if name in dirs else status.st_size, status.st_ino)
    return found


class Trace:
    """Every file that the server opens to write, makes or removes meanwhile, by strace."""

    CALLS = "open,openat,creat,mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,link,linkat,symlink,symlinkat,truncate"

    def __init__(self, server: Server, into: Path) -> None:
        self._into, self._data = into, server.data
        self._tracer = None
        if shutil.which("strace") is None:
            print(left_out("strace", "there is no strace to see every file that is opened with"), flush=True)
            return
        command = ["strace", "-f", "-qq", "-s", "20000", "-e", f"trace={self.CALLS}", "-o", str(into), "-p", str(server.process.pid)]
        self._tracer = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        if not self._attached(server.process.pid, self._tracer):
            self._tracer = None
            print(left_out("strace", "it may not look at another process here"), flush=True)

    @staticmethod
    def _attached(process: int, tracer: subprocess.Popen[bytes]) -> bool:
        """Waits until every thread of the process is traced: whether that came about."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and tracer.poll() is None:
            try:
                told = [task.joinpath("status").read_text() for task in Path(f"/proc/{process}/task").iterdir()]
            except (FileNotFoundError, ProcessLookupError):
                # A thread that ended meanwhile.
                continue
            if told and all(f"\nTracerPid:\t{tracer.pid}\n" in status for status in told):
                return True
            time.sleep(0.005)
        tracer.kill()
        tracer.wait()
        return False

    def stop(self) -> tuple[bool, list[str]]:
        """Whether anything was traced, and what was touched outside of the data directory."""
        if self._tracer is None:
            return False, []
        self._tracer.send_signal(signal.SIGINT)
        self._tracer.wait(timeout=PATIENCE)
        changes = re.compile(r"O_(?:WRONLY|RDWR|CREAT)|\b(?:mkdir|rename|unlink|link|symlink|creat|truncate)")
        outside = []
        for line in self._into.read_text(errors="replace").splitlines():
            paths = re.findall(r'"((?:[^"\\]|\\.)*)"', line)
            if changes.search(line):
                outside += [line[:200] for path in paths if not path.startswith(str(self._data)) or ".." in path]
            elif any(path.startswith("/") and not path.startswith((str(self._data), "/proc", "/sys")) for path in paths):
                outside.append(line[:200])
        return True, outside


def check(server: Server) -> tuple[int, list[str]]:
    """Sends every name to every place: how many requests, and what was wrong."""
    all_names, faults, asked = names(), [], 0
    if len(all_names) < LEAST_NAMES:
        raise Wrong(f"only {len(all_names)} names")
    # Version 2 of the dataset waits for parts.
    status, answer = server.ask("POST", "/v1/datasets/probe/versions", b'{"key":["k"],"format":"ndjson"}', {"content-type": "application/json"})
    if status != 201 or answer["version"] != 2:
        raise Wrong(f"version 2 was to be received: {status} {answer}")
    raw, root = Raw(server.address), server.data.parent
    settled(root)
    before = tree(root)
    trace = Trace(server, root / "trace")
    for place in places():
        is_path = "{}" in place.path
        for name in all_names:
            if re.fullmatch(place.fits.encode(), name):
                continue
            for form in dict.fromkeys(on_the_wire(name) if is_path else in_json(name)):
                path = place.path.replace("{}", form) if is_path else place.path
                body = (place.body.format(form) if not is_path else place.body.replace("{{", "{").replace("}}", "}")).encode("utf-8", "surrogatepass")
                if fits_another_route(place, form):
                    continue
                asked += 1
                try:
                    status = raw.status(place.method, path, body)
                except (OSError, ValueError, IndexError) as error:
                    faults.append(f"{place.method} {path[:120]} {body[:80]!r}: no answer ({error!r})")
                    continue
                too_long = status in (413, 414, 431) and len(form) > 4000
                if status not in place.wanted and not too_long:
                    faults.append(f"{place.method} {path[:120]} {body[:80]!r}: {status}, not {place.wanted}")
    raw.close()
    traced, outside = trace.stop()
    faults += [f"touched outside of the data directory: {line}" for line in outside[:20]]
    settled(root)
    after = tree(root)
    for path in sorted({*before, *after}):
        if before.get(path) != after.get(path):
            faults.append(f"a file was touched: {path}: {before.get(path)} is {after.get(path)}")
    print(f"names: {len(all_names)} names in {len(places())} places; every opened path was looked at: {traced}", flush=True)
    server.ask("DELETE", "/v1/datasets/probe/versions/2")
    return asked, faults


def settled(root: Path) -> None:
    """Waits until what goes on by itself (old versions are given up) has come to rest."""
    last, end = tree(root), time.monotonic() + PATIENCE
    same = 0
    while same < 5:
        if time.monotonic() > end:
            raise Wrong("files of the server never come to rest")
        time.sleep(0.2)
        now = tree(root)
        same, last = (same + 1 if now == last else 0), now


def fits_another_route(place: Place, form: str) -> bool:
    """A slash, `?` or `#` as it stands makes another path of it, which may be one that is right."""
    if "{}" not in place.path:
        return False
    return any(mark in form for mark in "/?#") and place.wanted != ANYTHING and place.method != "GET"
