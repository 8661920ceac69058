"""A push that runs while gets come at half of the maximum. The server, the build it starts and
what reads the disk for it share the server's one core, so it must yield to reads; so does the client
that sends the push, since the load needs all of the other core.

The load goes on until the push has ended: of a push that got no turn at all, gets would look best.
How long it took stands beside the same push, sent in the same way, without load."""

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
from .push import prepare
from .swaps import CONNECTIONS

# Not the dataset that is looked up: the measurements of swaps roll back from its versions, and what was
# rolled back from is refused.
PUSHED, ALONE = f"{DATASET}-pushed", f"{DATASET}-pushed-alone"
BEFORE = 10
# Seconds. A push that has not ended by then is starved, and no goal of this measurement is met.
AT_MOST = 600


def measure(bench):
    server = bench.tidetable()
    prepare(bench.data())
    alone = push_alone(bench, server)
    bench.say(f"  without load the push takes {alone:.0f} s")
    prepare(bench.data())
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
    push = push_politely(bench, server, PUSHED)
    finished = ended(push)
    seconds = time.monotonic() - start
    phases = load.end()
    progress = None if finished else newest(server).get("progress")
    push.kill()
    push.wait()
    found = {"phases": phases, "slices": load.slices, "rate": rate, "maximum": maximum, "push_seconds": seconds,
             "alone_seconds": alone, "at_most": AT_MOST, "finished": finished, "progress": progress, "began": began,
             "ended": began + seconds}
    # It may be sorting yet: a server that stops takes its build with it.
    bench.stop("tidetable")
    return found


def push_alone(bench, server):
    """Seconds, when nobody else asks for anything."""
    start = time.monotonic()
    push = push_politely(bench, server, ALONE)
    if not ended(push):
        push.kill()
        push.wait()
        raise Failed(f"a push without load has not ended after {AT_MOST} s")
    return time.monotonic() - start


def ended(push):
    """Waits for a push; whether it has ended within the bound."""
    try:
        status = push.wait(AT_MOST)
    except subprocess.TimeoutExpired:
        return False
    if status != 0:
        raise Failed(f"the push failed: {push.stderr.read()}")
    return True


def push_politely(bench, server, dataset):
    """Not activated: swaps have a measurement of their own."""
    here = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    command = ["chrt", "--idle", "0", sys.executable, "-m", "yardstick.client",
               str(server.port), dataset, bench.data().path("ndjson"), "&activate=false"]
    return subprocess.Popen(pinned(bench.layout.server, command), cwd=here, stderr=subprocess.PIPE, text=True)


def newest(server):
    """The version that the push makes; nothing where it has not even begun one."""
    status, _, answer = client.request(server.port, "GET", f"/v1/datasets/{PUSHED}/versions?limit=1")
    return next(iter(answer["versions"]), {}) if status == 200 else {}
