"""A push that runs while gets come at half of the maximum. The server, the build it starts and
what reads the disk for it share the server's one core, so it must yield to reads; so does the client
that sends the push, since the load needs all of the other core."""

import os
import subprocess
import sys
import time

from .. import client
from ..errors import Failed
from ..load import OpenLoop, half_of
from ..processes import pinned
from ..systems import DATASET
from .get import PATH, gets
from .swaps import CONNECTIONS

# Not the dataset that is looked up: the measurements of swaps roll back from its versions, and what was
# rolled back from is refused.
PUSHED = f"{DATASET}-pushed"
BEFORE, AT_MOST = 10, 90


def measure(bench):
    server = bench.tidetable()
    gets(bench, server, 1, 1)
    maximum = gets(bench, server, 2, 3)["rps"]
    rate = half_of(maximum, bench.options.helper, [(server, PATH)], CONNECTIONS, bench.options.records, bench.layout.load)
    bench.say(f"  {rate:,.0f} of {maximum:,.0f}/s")
    load = OpenLoop(bench.options.helper, server, PATH, rate, CONNECTIONS, bench.options.records, 1, 1,
                    bench.layout.load)
    load.phase("warm")
    time.sleep(3)
    load.phase("before")
    time.sleep(BEFORE)
    load.phase("during")
    began, start = load.now(), time.monotonic()
    push = push_politely(bench, server)
    try:
        push.wait(AT_MOST)
    except subprocess.TimeoutExpired:
        pass
    seconds, finished = time.monotonic() - start, push.poll() is not None
    if finished and push.returncode != 0:
        raise Failed(f"the push failed: {push.stderr.read()}")
    ended = load.now()
    phases = load.end()
    progress = None if finished else newest(server).get("progress")
    push.kill()
    push.wait()
    found = {"phases": phases, "slices": load.slices, "rate": rate, "maximum": maximum, "push_seconds": seconds,
             "finished": finished, "progress": progress, "began": began, "ended": ended}
    # It may be sorting yet: a server that stops takes its build with it.
    bench.stop("tidetable")
    return found


def push_politely(bench, server):
    """Not activated: swaps have a measurement of their own."""
    here = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    command = ["chrt", "--idle", "0", sys.executable, "-m", "yardstick.client",
               str(server.port), PUSHED, bench.data().path("ndjson"), "&activate=false"]
    return subprocess.Popen(pinned(bench.layout.server, command), cwd=here, stderr=subprocess.PIPE, text=True)


def newest(server):
    return client.ask(server.port, "GET", f"/v1/datasets/{PUSHED}/versions?limit=1")["versions"][0]
