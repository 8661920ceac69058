"""Pushes and imports from S3: what lies there is served as what lies on this machine is, or refused in one clear line.

Every check runs against each store that it is about. The same rows are pushed from files as well, and the
content digest must be the same. No output and no log may show the secret of the credentials.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

import boto3
import botocore.config

from servers import KEY_ID, PATIENCE, SECRET, Faults, Process, Tidetable, Wrong, between, moto, rclone

BUCKET = "lake"
DONE, FAILED, USAGE, REFUSED, NOT_FOUND, CONFLICT = 0, 1, 2, 3, 4, 5


@dataclass
class Store:
    """A store, and what stands in it for the time of the check."""

    name: str
    url: str
    client: Any

    def put(self, key: str, body: bytes) -> None:
        self.client.put_object(Bucket=BUCKET, Key=key, Body=body)


@dataclass
class Ran:
    """How a command ended."""

    code: int
    said: str
    out: str
    told: Any

    def line(self) -> str:
        return self.said.splitlines()[0] if self.said else ""


class Check:
    """One store, one server."""

    def __init__(self, binary: Path, home: Path, store: Store, server: Tidetable, outputs: list[str]) -> None:
        self.binary, self.home, self.store, self.server, self.outputs = binary, home, store, server, outputs
        self.count = 0

    def env(self, **more: str) -> dict[str, str]:
        return environment(self.home, self.store.url, **more)

    def run(self, *arguments: str, env: dict[str, str] | None = None, server: bool = True) -> Ran:
        address = ["--server", self.server.url] if server else []
        ended = subprocess.run([self.binary, *arguments, *address], env=env or self.env(),
                               capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
        self.outputs.append(ended.stdout + ended.stderr)
        told = json.loads(ended.stdout) if ended.stdout.startswith("{") else None
        return Ran(ended.returncode, ended.stderr, ended.stdout, told)

    def dataset(self) -> str:
        self.count += 1
        return f"{self.store.name}-{self.count}"

    def push(self, *arguments: str, env: dict[str, str] | None = None, dataset: str | None = None) -> Ran:
        return self.run("push", dataset or self.dataset(), *arguments, "--json", env=env)

    def digest(self, *arguments: str, env: dict[str, str] | None = None) -> str:
        """What a push that must succeed has made."""
        ran = self.push(*arguments, env=env)
        if ran.code != DONE:
            raise Wrong(f"{self.store.name}: {arguments} ended with {ran.code}: {ran.said}")
        return str(ran.told["content_digest"])

    def fails(self, code: int, *parts: str, ran: Ran) -> None:
        """One line says why, and it says this."""
        error = json.loads(ran.said)["error"] if ran.said.startswith("{") else {}
        message = str(error.get("message"))
        if ran.code != code or any(part not in message for part in parts) or "\n" in message:
            raise Wrong(f"{self.store.name}: expected exit code {code} and {parts}, got {ran.code}: {ran.said}")


def environment(home: Path, endpoint: str, **more: str) -> dict[str, str]:
    """Nothing of the caller's own."""
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET,
           "AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1", **more}
    return {name: value for name, value in env.items() if value}


def rows(first: int, count: int) -> bytes:
    return b"".join(b'{"id":%d,"v":"%s"}\n' % (n, b"x" * (n % 50)) for n in range(first, first + count))


def directories(check: Check) -> None:
    """A directory of a job, in the store and here: the same content, and only what the job wrote."""
    here = check.home / "out"
    here.mkdir()
    names = [f"part-{n:05}-7f.c000.ndjson" for n in range(4)]
    for number, name in enumerate(names):
        body = rows(number * 500, 500)
        (here / name).write_bytes(body)
        check.store.put(f"recs/2026-11-25/{name}", body)
    for name, body in [("_SUCCESS", b""), ("_committed_1", b"not rows"), ("report.txt", b"not rows")]:
        (here / name).write_bytes(body)
        check.store.put(f"recs/2026-11-25/{name}", body)
    expected = check.digest(str(here), "--key", "id")
    prefix = f"s3://{BUCKET}/recs/2026-11-25/"
    for source in [prefix, prefix + "part-*.ndjson", f"s3a://{BUCKET}/recs/*/part-0000[0-3]*"]:
        if check.digest(source, "--key", "id") != expected:
            raise Wrong(f"{check.store.name}: {source} is other content than its files")
    shown = check.run("push", "dry", prefix, "--key", "id", "--dry-run")
    if shown.code != DONE or "nothing was pushed" not in shown.said:
        raise Wrong(f"a dry run ended with {shown.code}: {shown.said}")
    check.fails(USAGE, "holds another directory", "2026-11-25", ran=check.push(f"s3://{BUCKET}/recs/", "--key", "id"))
    check.store.client.delete_object(Bucket=BUCKET, Key="recs/2026-11-25/_SUCCESS")
    (here / "_SUCCESS").unlink()
    for source in [str(here), prefix]:
        dataset = check.dataset()
        check.fails(REFUSED, "_SUCCESS", source, ran=check.push(source, "--key", "id", dataset=dataset))
        if check.server.ask("GET", f"/v1/datasets/{dataset}")[0] != 404:
            raise Wrong("a directory without _SUCCESS began a push")
        if check.digest(source, "--key", "id", "--accept-unfinished") != expected:
            raise Wrong(f"{check.store.name}: {source} without _SUCCESS is other content")


def objects(check: Check) -> None:
    """One object, compressed; and what is not there."""
    check.store.put("one/rows.csv.gz", gzip.compress(b"id,name\n1,a\n2,b\n"))
    (check.home / "rows.csv").write_bytes(b"id,name\n1,a\n2,b\n")
    if check.digest(f"s3://{BUCKET}/one/rows.csv.gz", "--key", "id") != check.digest(str(check.home / "rows.csv"), "--key", "id"):
        raise Wrong(f"{check.store.name}: an object is other content than its file")
    if check.store.name == "moto":
        # What consoles make where a person wants a directory.
        check.store.put("marked/rows.csv", b"id,name\n1,a\n2,b\n")
        check.store.put("marked/archive/", b"")
        for source in [f"s3://{BUCKET}/marked/", f"s3://{BUCKET}/marked/*"]:
            if check.digest(source, "--key", "id") != check.digest(str(check.home / "rows.csv"), "--key", "id"):
                raise Wrong(f"{source} is other content than its file")
            shown = check.run("push", "dry", source, "--key", "id", "--dry-run")
            if shown.code != DONE:
                raise Wrong(f"a dry run of {source} ended with {shown.code}: {shown.said}")
    odd = "one/größe ~+&'(1).csv"
    check.store.put(odd, b"id,name\n1,a\n2,b\n")
    check.digest(f"s3://{BUCKET}/{odd}", "--key", "id")
    for source, parts in [
        (f"s3://{BUCKET}/one/absent.csv", ["is not there"]), (f"s3://{BUCKET}/absent/", ["nothing lies beneath it"]),
        (f"s3://{BUCKET}/one/*.parquet", ["nothing matches"]), ("s3://no-such-bucket/x/", ["no-such-bucket", "is not there"]),
        ("s3://no-such-bucket/x.csv", ["no-such-bucket", "is not there"]),
    ]:
        check.fails(NOT_FOUND, source, *parts, ran=check.push(source, "--key", "id"))
    for source in [f"s3://{BUCKET}/a/../b.csv", "hdfs://namenode/x", "s3:///x"]:
        check.fails(USAGE, "the source", ran=check.push(source, "--key", "id"))
    check.fails(USAGE, "AWS_ALLOW_HTTP", ran=check.push(f"s3://{BUCKET}/one/", "--key", "id", env=check.env(AWS_ALLOW_HTTP="")))


def manifests(check: Check) -> None:
    """What a Redshift UNLOAD lists is what is pushed, and all of it."""
    parts = {"unload/0000_part_00": b"1|a\n2|b\n", "unload/0001_part_00": b"3|c|d\\|\n".replace(b"|d", b"\\|d")}
    for key, body in parts.items():
        check.store.put(key, body)
    check.store.put("unload/0002_part_00", b"of another UNLOAD\n")

    def manifest(change: Callable[[dict[str, Any]], None] = lambda _: None) -> bytes:
        entries = [{"url": f"s3://{BUCKET}/{key}", "mandatory": True, "meta": {"content_length": len(body)}} for key, body in parts.items()]
        listed: dict[str, Any] = {"entries": entries}
        change(listed)
        return json.dumps(listed).encode()

    how = ("--format", "redshift", "--columns", "id,name", "--key", "id")
    check.store.put("unload/recs_manifest", manifest())
    here = check.home / "recs_manifest"
    here.write_bytes(manifest())
    first = check.digest(f"s3://{BUCKET}/unload/recs_manifest", *how)
    other = check.home / "listed.json"
    other.write_bytes(manifest())
    if {check.digest(str(here), *how), check.digest(str(other), "--manifest", *how)} != {first}:
        raise Wrong(f"{check.store.name}: a manifest here is other content than the one there")

    def missing(listed: dict[str, Any]) -> None:
        listed["entries"][1]["url"] += "x"

    def longer(listed: dict[str, Any]) -> None:
        listed["entries"][0]["meta"]["content_length"] += 1

    def file(listed: dict[str, Any]) -> None:
        listed["entries"][0]["url"] = "/etc/passwd"

    for change, words in [(missing, "0001_part_00x"), (longer, "has 9 bytes, but it has 8"), (file, "/etc/passwd")]:
        check.store.put("unload/bad_manifest", manifest(change))
        here.write_bytes(manifest(change))
        for source in [f"s3://{BUCKET}/unload/bad_manifest", str(here)]:
            check.fails(REFUSED, "manifest", words, ran=check.push(source, *how))
    optional = manifest(lambda listed: (missing(listed), listed["entries"][1].update(mandatory=False))[0])
    here.write_bytes(optional)
    check.digest(str(here), *how)


def credentials(check: Check) -> None:
    """Signatures that are wrong, credentials in a file, and none at all."""
    source = (f"s3://{BUCKET}/one/rows.csv.gz", "--key", "id")
    if check.store.name == "rclone":
        check.fails(FAILED, "credentials", ran=check.push(*source, env=check.env(AWS_SECRET_ACCESS_KEY="wrongSECRETneverSHOWN")))
    files = check.home / ".aws"
    files.mkdir(exist_ok=True)
    (files / "credentials").write_text(f"[batch]\naws_access_key_id = {KEY_ID}\naws_secret_access_key = {SECRET}\n")
    check.digest(*source, env=check.env(AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="", AWS_PROFILE="batch"))
    # Nobody answers where a machine asks for its own.
    none = check.env(AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="", AWS_METADATA_ENDPOINT="http://127.0.0.1:9")
    ran = check.push(*source, env=none)
    if ran.code != FAILED:
        raise Wrong(f"a push without credentials ended with {ran.code}: {ran.said}")


def imports(check: Check) -> None:
    """The server fetches by itself, beneath what its settings name and nowhere else."""
    expected = check.digest(f"s3://{BUCKET}/one/rows.csv.gz", "--key", "id")
    if check.digest("one/rows.csv.gz", "--from", "lake", "--key", "id") != expected:
        raise Wrong(f"{check.store.name}: an import is other content than a push")
    dataset = check.dataset()
    ran = check.push("recs/2026-11-25/", "--from", "lake", "--key", "id", "--accept-unfinished", dataset=dataset)
    if ran.code != DONE or ran.told["records"] != 2000 or not ran.told["current"]:
        raise Wrong(f"{check.store.name}: an import ended with {ran.code}: {ran.said} {ran.told}")
    check.fails(NOT_FOUND, "is not there", ran=check.push("absent.csv", "--from", "lake", "--key", "id", dataset=dataset))
    check.fails(REFUSED, "_SUCCESS", ran=check.push("recs/2026-11-25/", "--from", "lake", "--key", "id", dataset=dataset))
    check.fails(REFUSED, "not beneath the source", ran=check.push(
        "recs_manifest", "--from", "unload-only", "--format", "redshift", "--columns", "id,name", "--key", "id", dataset=dataset))
    if check.server.ask("GET", f"/v1/datasets/{dataset}")[1]["current"] != 1:
        raise Wrong("an import that failed has replaced what is served")
    for body, status in [
        ({"source": "lake", "path": "../secret/x"}, 400), ({"source": "lake", "path": "/etc/passwd"}, 400),
        ({"source": "lake", "path": f"s3://{BUCKET}/x"}, 400), ({"source": "pond", "path": "x"}, 404), ({"path": "x"}, 400),
        ({"source": "lake", "url": "http://127.0.0.1/"}, 400),
    ]:
        answer = check.server.ask("POST", f"/v1/datasets/{dataset}/import", {"key": "id", **body})
        if answer[0] != status:
            raise Wrong(f"an import of {body} answered {answer}")
    dataset, headers = check.dataset(), {"Idempotency-Key": "run-7"}
    body = {"source": "lake", "path": "one/rows.csv.gz", "key": "id", "label": "run-7"}
    path = f"/v1/datasets/{dataset}"
    status, first = check.server.ask("POST", f"{path}/import", body, headers)
    if status != 202:
        raise Wrong(f"an import answered {status}: {first}")
    check.server.ask("GET", f"{path}/versions/{first['version']}?wait=60")
    status, again = check.server.ask("POST", f"{path}/import", body, headers)
    if (status, again["version"], again["label"]) != (202, first["version"], "run-7"):
        raise Wrong(f"an import that was repeated answered {status}: {again}")


def snapshots(check: Check) -> None:
    """A snapshot that lies in the store is pushed as one on this machine, or refused before anything is."""
    rows_here, built = check.home / "built.ndjson", check.home / "built"
    rows_here.write_bytes(rows(0, 5000))
    made = check.run("build", "recs", str(rows_here), "--key", "id", "--out", str(built), "--json", server=False)
    if made.code != DONE:
        raise Wrong(f"a build ended with {made.code}: {made.said}")
    files = {file.name: file.read_bytes() for file in built.iterdir() if file.is_file()}
    for name, body in files.items():
        check.store.put(f"built/{name}", body)
    prefix, dataset = f"s3://{BUCKET}/built/", check.dataset()
    expected = check.digest(str(rows_here), "--key", "id")
    ran = check.push(prefix, "--idempotency-key", "night", dataset=dataset)
    if ran.code != DONE or ran.told["content_digest"] != expected:
        raise Wrong(f"{check.store.name}: a snapshot in the store ended with {ran.code}: {ran.said} {ran.told}")
    again = check.push(prefix, "--idempotency-key", "night", dataset=dataset)
    if again.code != DONE or again.told["version"] != ran.told["version"]:
        raise Wrong(f"{check.store.name}: the same snapshot again ended with {again.code}: {again.said} {again.told}")
    job = check.home / "job.yaml"
    check.store.put("unload/list", json.dumps({"entries": [{"url": f"s3://{BUCKET}/one/rows.csv.gz"}]}).encode())
    wanted = [f"{{source: {prefix}}}", "{from: lake, source: one/rows.csv.gz, key: id}",
              f"{{source: s3://{BUCKET}/unload/list, manifest: true, format: csv, key: id}}"]
    job.write_text("datasets:\n" + "".join(f"  {check.dataset()}: {one}\n" for one in wanted))
    shown = check.run("run", str(job), "--dry-run")
    if shown.code != DONE or "a snapshot of 3 files" not in shown.out or "which the server fetches" not in shown.out:
        raise Wrong(f"a dry run ended with {shown.code}: {shown.said} {shown.out}")
    ran = check.run("run", str(job), "--json")
    if ran.code != DONE or [one["resource"]["records"] for one in ran.told["datasets"]] != [5000, 2, 2]:
        raise Wrong(f"a job ended with {ran.code}: {ran.said} {ran.told}")
    check.fails(USAGE, "--key", "is a snapshot", ran=check.push(prefix, "--key", "id"))
    manifest = next(name for name in files if name.endswith(".json"))
    table = next(name for name in files if name.endswith(".sst"))
    check.store.put(f"built/{table}", files[table][:-1])
    check.fails(REFUSED, "not whole", table, ran=check.push(prefix))
    check.store.client.delete_object(Bucket=BUCKET, Key=f"built/{table}")
    check.fails(REFUSED, "not whole", table, "is missing", ran=check.push(prefix))
    check.store.put(f"built/{table}", bytes([files[table][0] ^ 1]) + files[table][1:])
    check.fails(REFUSED, table, ran=check.push(prefix))
    check.store.put(f"built/{manifest}", files[manifest][:-9])
    check.fails(REFUSED, prefix, ran=check.push(prefix))


def faults(check: Check, faults: Faults, url: str) -> None:
    """What breaks off goes on, of the same version or not at all; what fails is asked again, and resumed by key."""
    env = check.env(AWS_ENDPOINT_URL=url)
    large = rows(0, 60_000)
    check.store.put("large/rows.ndjson", large)
    source = (f"s3://{BUCKET}/large/rows.ndjson", "--key", "id")
    expected = check.digest(*source)
    faults.cut_after, faults.slow_down = [len(large) // 3, len(large) // 4, 0], 2
    faults.requests.clear()
    if check.digest(*source, env=env) != expected:
        raise Wrong("an object that broke off is other content")
    ranges = [range for _, _, range in faults.requests if range]
    if len(ranges) < 3 or faults.cut_after or faults.slow_down:
        raise Wrong(f"it was not resumed: {faults.requests}")
    faults.cut_after = [len(large) // 2]
    faults.meanwhile = lambda: check.store.put("large/rows.ndjson", large.replace(b"x", b"y"))
    check.fails(FAILED, "large/rows.ndjson", "changed", ran=check.push(*source, env=env))
    # Two objects, of which the second fails for ever; then it does not.
    for number in range(2):
        check.store.put(f"two/{number}.ndjson", rows(number * 10, 10))
    dataset, two = check.dataset(), (f"s3://{BUCKET}/two/", "--key", "id", "--idempotency-key", "run-1", "--retries", "0")
    faults.broken = "/1.ndjson"
    check.fails(FAILED, "two/1.ndjson", ran=check.push(*two, env=env, dataset=dataset))
    faults.broken = ""
    ran = check.run("push", dataset, *two, env=env)
    if ran.code != DONE or "two/0.ndjson is there already" not in ran.said:
        raise Wrong(f"a push that was resumed ended with {ran.code}: {ran.said}")
    if len(check.server.ask("GET", f"/v1/datasets/{dataset}/versions")[1]["versions"]) != 1:
        raise Wrong("a push that was resumed made a second version")
    again = check.run("push", dataset, *two, env=env)
    if again.code != DONE or len(check.server.ask("GET", f"/v1/datasets/{dataset}/versions")[1]["versions"]) != 1:
        raise Wrong(f"a push that was repeated ended with {again.code}: {again.said}")
    for status, body, parts in [
        (400, b"<Error><Code>ExpiredToken</Code><Message>secretish</Message></Error>", ["credentials have expired", "ExpiredToken"]),
        (403, b"<Error><Code>AccessDenied</Code></Error>", ["access is denied"]),
        (403, b"<Error><Code>InvalidAccessKeyId</Code><AWSAccessKeyId>" + KEY_ID.encode() + b"</AWSAccessKeyId></Error>", ["not accepted"]),
        (200, b"x" * (20 << 20), ["not understood"]),
        (200, b"<ListBucketResult><Contents>", ["not understood"]),
    ]:
        faults.instead = (status, body)
        ran = check.push(f"s3://{BUCKET}/two/", "--key", "id", env=env)
        check.fails(FAILED, f"s3://{BUCKET}/two/", *parts, ran=ran)
        if KEY_ID in ran.said or "secretish" in ran.said:
            raise Wrong(f"what the store answered is shown: {ran.said}")
    faults.instead = None


def restarts(check: Check, faults: Faults, start: Callable[[], Tidetable]) -> None:
    """How far an import is can be seen; a stop in its midst fails it, and leaves nothing."""
    faults.hang = threading.Event()
    dataset = check.dataset()
    path = f"/v1/datasets/{dataset}"
    body, headers = {"source": "between", "path": "large/rows.ndjson", "key": "id"}, {"Idempotency-Key": "run-1"}
    status, begun = check.server.ask("POST", f"{path}/import", body, headers)
    if (status, begun["state"]) != (202, "receiving"):
        raise Wrong(f"an import answered {status}: {begun}")
    version, progress, end = f"{path}/versions/{begun['version']}", None, time.monotonic() + PATIENCE
    while not (progress and progress["bytes"]) and time.monotonic() < end:
        progress = check.server.ask("GET", version)[1]["progress"]
        time.sleep(0.02)
    if not progress or progress["phase"] != "fetching" or not 0 < progress["bytes"] < progress["total_bytes"]:
        raise Wrong(f"the progress of an import is {progress}")
    if dataset not in [push["dataset"] for push in check.server.ask("GET", "/v1/pushes")[1]["pushes"]]:
        raise Wrong("an import is no push that runs")
    status, again = check.server.ask("POST", f"{path}/import", body, headers)
    if (status, again["version"]) != (202, begun["version"]):
        raise Wrong(f"an import that was repeated while it is fetched answered {status}: {again}")
    for method, place, rest in [("PUT", f"{version}/parts/more", {}), ("POST", f"{version}/commit", {})]:
        status, refusal = check.server.ask(method, place, rest)
        if (status, refusal["code"]) != (409, "wrong_state"):
            raise Wrong(f"{method} {place} while it is fetched answered {status}: {refusal}")
    check.server.kill()
    faults.hang.set()
    faults.hang = None
    check.server = start()
    failed = check.server.ask("GET", version)[1]
    if (failed["state"], failed["code"]) != ("failed", "interrupted") or "stopped" not in failed["reason"]:
        raise Wrong(f"an import that was cut off is {failed}")
    status, second = check.server.ask("POST", f"{path}/import", body, headers)
    settled = check.server.ask("GET", f"{path}/versions/{second['version']}?wait=60")[1]
    if settled["state"] != "active" or settled["records"] != 60_000:
        raise Wrong(f"an import that was begun again is {settled}")


def of_store(name: str, started: tuple[Process, str], options: argparse.Namespace, home: Path, outputs: list[str]) -> None:
    """All checks against one store."""
    config = botocore.config.Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required")
    client = boto3.client("s3", endpoint_url=started[1], aws_access_key_id=KEY_ID, aws_secret_access_key=SECRET,
                          region_name="us-east-1", config=config)
    client.create_bucket(Bucket=BUCKET)
    proxy, between_url, failing = between(started[1])
    sources = [("lake", BUCKET, started[1]), ("unload-only", f"{BUCKET}/unload", started[1]), ("between", BUCKET, between_url)]
    settings = home / "tidetable.toml"
    settings.write_text("".join(
        f'[sources.{source}]\nurl = "s3://{prefix}/"\nendpoint = "{url}"\nallow_http = true\n' for source, prefix, url in sources))

    def serve() -> Tidetable:
        # There is no endpoint in its environment: its settings say it.
        return Tidetable(options.binary, home, environment(home, "", AWS_ALLOW_HTTP=""), settings)

    check = Check(options.binary, home, Store(name, started[1], client), serve(), outputs)
    try:
        for step in [directories, objects, manifests, credentials]:
            step(check)
        client.put_object(Bucket=BUCKET, Key="unload/recs_manifest", Body=json.dumps(
            {"entries": [{"url": f"s3://{BUCKET}/one/rows.csv.gz"}]}).encode())
        imports(check)
        snapshots(check)
        if name == "moto":
            faults(check, failing, between_url)
            restarts(check, failing, serve)
        check.server.stop()
    finally:
        check.server.kill()
        proxy.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=Path)
    parser.add_argument("--bin", type=Path, required=True, help="where moto_server and rclone are")
    options = parser.parse_args()
    began, outputs = time.monotonic(), []
    with tempfile.TemporaryDirectory() as directory:
        for name, start in [("moto", moto), ("rclone", rclone)]:
            home = Path(directory) / name
            home.mkdir()
            started = start(options.bin, home)
            try:
                of_store(name, started, options, home, outputs)
                outputs.append((home / "server.log").read_text())
            except Wrong as wrong:
                log = home / "server.log"
                sys.exit(f"FAILED: {wrong}\n{log.read_text()[-2000:] if log.exists() else ''}")
            finally:
                started[0].kill()
            print(f"{name}: right")
    # In both of those that are used; the names of variables are no secret.
    if any("SECRETneverSHOWN" in output for output in outputs):
        sys.exit("FAILED: a secret was shown")
    print(f"sources in S3: {len(outputs)} commands against two stores, {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
