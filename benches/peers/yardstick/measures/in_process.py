"""Lookups in one thread of this process, beside LMDB: `snapshot.get` without a server around it.

Two readings of a value: `length` finds it and looks at its length; `bytes` reads it from end
to end. LMDB gives a pointer into its map, so only `bytes` makes it fetch the value; Tidetable
has checked and decompressed it by then."""

import os

from ..load import Lookups
from ..systems import DATASET

LOOKUPS_PER_SECOND = 400_000


def measure(bench):
    bench.tidetable()
    # The directory belongs to one process at a time.
    bench.stop("tidetable")
    options, cores = bench.options, bench.layout.server
    bench.say("opening Tidetable's data, filling LMDB")
    stores = {
        "tidetable": Lookups([options.helper, "lookups", bench.path("tidetable"), DATASET, options.records], cores),
        "lmdb": Lookups([options.lmdb, bench.path("lmdb"), bench.data().path("ndjson"), options.records], cores),
    }
    # What filling LMDB left to be written is not written while either is measured.
    os.sync()
    systems = {}
    for keys, reading in (("present", "length"), ("present", "bytes"), ("absent", "length")):
        for name, store in stores.items():
            systems[f"{name} {keys} {reading}"] = round_of(store, keys, reading)
    try:
        return bench.rounds(systems)
    finally:
        for store in stores.values():
            store.stop()


def round_of(store, keys, reading):
    return lambda number, seconds: store.round(keys, reading, int(LOOKUPS_PER_SECOND * seconds), number)
