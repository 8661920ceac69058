"""What is measured on: its processor, its memory, its programs, and which cores do what."""

import os
import platform
import re
import subprocess

from .errors import Unusable


def read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def cores():
    """The cores this process may use."""
    return sorted(os.sched_getaffinity(0))


class Layout:
    """Which cores serve and which ask: never the same, where there are enough."""

    def __init__(self):
        usable = cores()
        if len(usable) < 2:
            raise Unusable("one core cannot both serve and ask: two are needed, "
                           f"this process may use {len(usable)}")
        self.server, self.load = [usable[0]], [usable[1]]
        # For two serving threads: two more cores for the load, or the same two.
        self.two_servers = usable[:2]
        self.two_loads = usable[2:4] if len(usable) >= 4 else usable[:2]
        self.all = usable

    @property
    def two_share(self):
        return self.two_loads == self.two_servers


def describe(binary):
    """For the page: facts that a reader needs to compare with another machine."""
    cpu = read("/proc/cpuinfo")
    model = re.search(r"model name\s*:\s*(.+)", cpu)
    memory = re.search(r"MemTotal:\s+(\d+)", read("/proc/meminfo"))
    release = re.search(r'PRETTY_NAME="?([^"\n]+)', read("/etc/os-release"))
    return {
        "processor": model.group(1) if model else platform.machine(),
        "virtual": "hypervisor" in cpu,
        "cores": len(cores()),
        "memory_bytes": int(memory.group(1)) * 1024,
        "kernel": platform.release(),
        "system": release.group(1) if release else platform.system(),
        "cache": cache(),
        "governor": optional("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "programs": {
            "Tidetable": output([binary, "--version"]).split()[-1],
            "Redis": re.search(r"v=(\S+)", output(["redis-server", "--version"])).group(1),
            "nginx": output(["nginx", "-v"]).strip().rpartition("/")[2].split()[0],
            "wrk": re.search(r"wrk (\S+)", output(["wrk", "-v"])).group(1),
        },
        "commit": commit(),
    }


def cache():
    """The last-level cache, which decides what "random access" costs."""
    sizes = []
    base = "/sys/devices/system/cpu/cpu0/cache"
    for index in sorted(os.listdir(base)) if os.path.isdir(base) else []:
        size = optional(f"{base}/{index}/size")
        if size:
            sizes.append(size)
    return sizes[-1] if sizes else None


TICKS = os.sysconf("SC_CLK_TCK")


def used():
    """Processor time that the whole machine has spent so far, and time that its host took away
    (steal), in seconds."""
    # user nice system idle iowait irq softirq steal guest guest_nice; guests are in user. What
    # soft interrupts do is the load's own: its packets.
    fields = [int(word) / TICKS for word in read("/proc/stat").splitlines()[0].split()[1:]]
    return sum(fields[:3]) + fields[5], fields[7]


def optional(path):
    try:
        return read(path).strip()
    except OSError:
        return None


def output(command):
    """What a program prints, whether it thinks that was an error or not: `wrk -v` does."""
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout + done.stderr


def commit():
    here = os.path.dirname(os.path.abspath(__file__))
    done = subprocess.run(["git", "-C", here, "rev-parse", "--short=10", "HEAD"], capture_output=True, text=True)
    dirty = subprocess.run(["git", "-C", here, "status", "--porcelain", "--untracked-files=no"],
                           capture_output=True, text=True)
    if done.returncode != 0:
        return None
    return done.stdout.strip() + (" with changes" if dirty.stdout.strip() else "")
