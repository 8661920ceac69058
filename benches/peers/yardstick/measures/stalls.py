"""What holds up a program that never waits, on the core of the servers and on that of the load, while nothing
else was started: the kernel's own work, and other machines of the same host. No server can be better."""

import json
import subprocess

from ..errors import Failed
from ..processes import pinned

SECONDS = 10


def measure(bench):
    bench.stop()
    cores = {"server": bench.layout.server, "load": bench.layout.load}
    # At the same time, as a server and its load are busy at the same time.
    running = {name: subprocess.Popen(pinned(at[:1], [bench.options.helper, "stalls", str(SECONDS)]),
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
               for name, at in cores.items()}
    found = {}
    for name, program in running.items():
        said, error = program.communicate()
        if program.returncode != 0:
            raise Failed(f"{bench.options.helper} stalls: {error}")
        found[name] = json.loads(said)
        bench.say(f"  {name}: {words(found[name])}")
    return found


def words(found):
    return (f"held up {found['long'] / found['seconds']:.1f} times a second for 0.5 ms or more, {found['most_us'] / 1000:.1f} ms at "
            f"most; of all moments 1 % wait for {found['p99_us']:,.0f} µs or longer, 0.1 % for {found['p999_us']:,.0f} µs")
