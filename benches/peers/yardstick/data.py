"""The records, made once for each size and kept for the next run."""

import json
import os
import shutil
import subprocess

from .errors import Failed, Unusable

# Raise it when the helper writes other records for the same arguments.
GENERATION = 3
# Of one record, over all its forms on the disk: rows, commands, versions, LMDB.
DISK_BYTES = 3_000


class Data:
    """Files with `records` records of an edition; other editions have other values."""

    def __init__(self, helper, out, records, edition, forms, say):
        self.forms = forms
        self.dir = os.path.join(out, "data", f"{GENERATION}-{records}-{edition}-{'-'.join(forms)}")
        described = self.path("json")
        if not os.path.exists(described):
            # What was cut off is not taken for the whole.
            shutil.rmtree(self.dir, ignore_errors=True)
            say(f"writing {records:,} records, edition {edition}")
            command = [helper, "data", self.dir, str(records), str(edition), ",".join(forms)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                raise Failed(f"the data could not be written: {done.stderr}")
        with open(described, encoding="utf-8") as file:
            self.about = json.load(file)
        self.records = records

    def path(self, form):
        return os.path.join(self.dir, f"rows.{form}")

    @property
    def raw_bytes(self):
        return self.about["key_bytes"] + self.about["value_bytes"]

    @property
    def body(self):
        """As long as the median value: what nginx answers."""
        sample = self.about["sample"]
        return (sample * 3)[:self.about["median_value"]]

    def remove(self):
        shutil.rmtree(self.dir, ignore_errors=True)

    def warm(self):
        """Reads the rows, so that loading them starts from memory for every system."""
        for form in self.forms:
            read_through(self.path(form))


SET = b"*3\r\n$3\r\nSET\r\n"


def commands(resp, count):
    """(key, value) of some of the commands that Redis is given, from all parts of the file; fewer than
    `count` of a short one."""
    size = os.path.getsize(resp)
    with open(resp, "rb") as file:
        for place in range(count):
            start = size * place // count
            file.seek(start)
            # Longer than a command.
            at = file.read(1 << 16).find(SET)
            if at >= 0:
                file.seek(start + at + len(SET))
                yield bulk(file), bulk(file)


def bulk(file):
    """A string as Redis has it sent: its length, and as many bytes."""
    length = int(file.readline().removeprefix(b"$"))
    found = file.read(length)
    file.readline()
    return found


def read_all(directory):
    """Has the page cache hold the files below, as far as they fit."""
    for place, _, names in os.walk(directory):
        for name in names:
            read_through(os.path.join(place, name))


def read_through(path):
    with open(path, "rb", buffering=0) as file:
        while file.read(1 << 24):
            pass


def require_disk(out, records):
    free = shutil.disk_usage(out).free
    needed = records * DISK_BYTES
    if free < needed:
        raise Unusable(f"{out} has {free / 1e9:.0f} GB free, {needed / 1e9:.0f} GB are needed for {records:,} records: "
                       "take a smaller --records, or another place by BENCH_DIR=…")


def key(number):
    return f"learner:{number:012d}"
