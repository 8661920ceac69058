"""Two serving threads on two cores, beside one on one. nginx with two workers shares nothing at
all: what its processor time grows by is the price of the arrangement, most of all where server
and load have to share two cores."""

from .get import gets


def measure(bench):
    layout = bench.layout
    one, two = layout.server, layout.two_servers
    nginx_one, nginx_two = bench.nginx(), bench.nginx("nginx-2", 2, two)

    def tidetable(threads, cores, load):
        def run(number, seconds):
            # One server at a time may have the directory, so each round starts it anew.
            server = bench.tidetable(threads, cores)
            gets(bench, server, 1000 + number, 0.5, cores=cores, load_cores=load)
            return gets(bench, server, number, seconds, cores=cores, load_cores=load)
        return run

    return bench.rounds({
        "tidetable one": tidetable(1, one, layout.load),
        "tidetable two": tidetable(2, two, layout.two_loads),
        "nginx one": lambda number, seconds: gets(bench, nginx_one, number, seconds),
        "nginx two": lambda number, seconds: gets(
            bench, nginx_two, number, seconds, cores=two, load_cores=layout.two_loads),
    })
