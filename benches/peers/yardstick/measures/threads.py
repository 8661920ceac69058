"""Two serving threads on two cores, beside one on one. nginx with two workers shares nothing at
all: what its processor time grows by is the price of the arrangement, most of all where server
and load have to share two cores.

Tidetable has to be started anew for each round, since one server at a time may have the directory. So
nginx is too, and both are asked for a second before the round."""

from .get import gets


def measure(bench):
    layout = bench.layout
    one, two = layout.server, layout.two_servers
    return bench.rounds({
        "tidetable one": started_anew(bench, bench.tidetable, 1, one, layout.load),
        "tidetable two": started_anew(bench, bench.tidetable, 2, two, layout.two_loads),
        "nginx one": started_anew(bench, bench.nginx, 1, one, layout.load),
        "nginx two": started_anew(bench, bench.nginx, 2, two, layout.two_loads),
    })


def started_anew(bench, start, threads, cores, load):
    """Rounds of a server that was last started with another number of threads, and so is started again."""
    def run(number, seconds):
        server = start(threads, cores)
        gets(bench, server, 1000 + number, 1, cores=cores, load_cores=load)
        return gets(bench, server, number, seconds, cores=cores, load_cores=load)
    return run
