"""Which files a source names, and what they hold: as `tidetable push` does it."""

from __future__ import annotations

import glob
import os
import re
from typing import List, Optional, Sequence, Union

from .compat import AirflowException

ENDINGS = {
    "ndjson": "ndjson", "jsonl": "ndjson", "csv": "csv", "tsv": "tsv", "parquet": "parquet",
}


def find_files(source: Union[str, Sequence[str]]) -> List[str]:
    """Files, directories and globs as files, each source's by name. None at all is an error, which
    a retry may get over: the file may only be late.
    """
    found: List[str] = []
    for name in [source] if isinstance(source, str) else source:
        if os.path.isfile(name):
            found.append(name)
            continue
        inside = glob.glob(os.path.join(glob.escape(name), "*") if os.path.isdir(name) else name)
        files = sorted(
            file for file in inside
            if os.path.isfile(file) and not os.path.basename(file).startswith((".", "_"))
        )
        if not files:
            raise AirflowException(f"there is no file {name}: nothing was pushed")
        found += files
    return found


def part_name(attempt: str, at: int, file: str) -> str:
    """The name of a file's part, as one attempt sends it: such that errors of rows name the file."""
    return f"{attempt}-{at:06d}-{re.sub('[^A-Za-z0-9._-]', '_', os.path.basename(file))[-100:]}"


def format_of(files: Sequence[str]) -> Optional[str]:
    """The format that all names tell; None leaves it to the first bytes."""
    told = set()
    for file in files:
        name = os.path.basename(file)
        for packed in (".gz", ".zst"):
            name = name[: -len(packed)] if name.endswith(packed) else name
        told.add(ENDINGS.get(name.rpartition(".")[2]))
    return told.pop() if len(told) == 1 else None
