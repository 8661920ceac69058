"""The command line."""

import argparse
import os

from . import measures

DESCRIPTION = """\
Measures Tidetable beside Redis, nginx and LMDB, every system in the same run, in turn: the
server on one core, the load on another. Prints a table of medians and ratios. A run with --full and
nothing left out also writes docs/benchmarks.md and its charts; any other leaves them beside the
raw results, so that the page never loses a row."""


def parse(arguments):
    parser = argparse.ArgumentParser(prog="benches/peers/run", description=DESCRIPTION)
    parser.add_argument("--tidetable", required=True, metavar="BINARY", help="the server")
    parser.add_argument("--helper", required=True, metavar="BINARY", help="tidetable-peers")
    parser.add_argument("--lmdb", required=True, metavar="BINARY", help="lmdb-peer")
    parser.add_argument("--out", required=True, metavar="DIR",
                        help="data, logs and results; several GB, and best on a disk")
    parser.add_argument("--only", default="", metavar="NAME,…",
                        help="only these measurements: " + ", ".join(measures.NAMES))
    parser.add_argument("--skip", default="", metavar="NAME,…", help="all but these")
    parser.add_argument("--quick", action="store_true",
                        help="less data and fewer, shorter rounds: is it roughly right? Under 4 minutes")
    parser.add_argument("--full", action="store_true",
                        help="also ten times the data, for docs/benchmarks.md: 20 minutes and 40 GB more")
    parser.add_argument("--records", type=int, metavar="N", help="default 2,000,000; 500,000 with --quick")
    parser.add_argument("--rounds", type=int, metavar="N", help="default 5; 3 with --quick")
    parser.add_argument("--seconds", type=float, metavar="S",
                        help="of load in each round; default 4, 2 with --quick")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md whatever was left out")
    options = parser.parse_args(arguments)
    options.records = options.records or (500_000 if options.quick else 2_000_000)
    options.rounds = options.rounds or (3 if options.quick else 5)
    options.seconds = options.seconds or (2 if options.quick else 4)
    options.selected = select(parser, options)
    options.complete = not options.quick and options.selected == list(measures.NAMES)
    for name in ("tidetable", "helper", "lmdb", "out"):
        setattr(options, name, os.path.abspath(getattr(options, name)))
    return options


def select(parser, options):
    names = split(options.only) or measures.by_default(options)
    unknown = (set(names) | set(split(options.skip))) - set(measures.NAMES)
    if unknown:
        parser.error(f"no measurement is called {', '.join(sorted(unknown))}; there are {', '.join(measures.NAMES)}")
    # In their own order, whatever the order they were named in.
    return [name for name in measures.NAMES if name in names and name not in split(options.skip)]


def split(text):
    return [name for name in text.replace(" ", "").split(",") if name]
