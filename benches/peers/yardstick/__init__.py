"""What `make bench-peers` runs: every system in one run, in turn, and the page about it.

    main       one run, from the options to the page
    options    the command line
    machine    what is measured on
    processes  servers: started, pinned, their processor time and memory, ended
    systems    Tidetable, Redis and nginx
    limits     a bound on the memory of a server
    data       the records
    load       wrk, redis-benchmark, requests at a set rate
    client     requests to Tidetable that are not load
    bench      what all measurements share
    measures/  one file per question
    stats      medians and ratios of rounds
    goals      results against what was set out to reach
    page, charts   docs/benchmarks.md
"""
