#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Measure the sampler beside other servers, interleaved in rounds on one machine.
What counts are ratios within a round: the machine's speed drifts. What was measured
while a hypervisor gave processors to others is measured again, three times at most.

CPU per request is user and system time of all processes of a server, by the
scheduler's own account, over the requests answered; system calls are counted by
perf where it may; PSS is the proportional set size of all processes."""
import argparse
import os
import random
import shutil
import sys

import about
import growth
import loads
import process
import report
import results
import servers

REFERENCE = "nginx return"
PROGRAMS = ("node", "uvicorn", "gunicorn")


def is_crew(server):
    return server.kind == "crew"


def hello(connections, **options):
    def run(server, port, pids, folder, seconds):
        return loads.closed_loop(server, port, pids, folder, connections, seconds, **options)
    return run


def gives_bytes(server):
    return server.name in (REFERENCE, "nginx to nginx") or echoes(server)


def echoes(server):
    return server.name == "crew, 2 workers" or server.name.startswith(PROGRAMS)


def with_path(path, connections, **options):
    def run(server, port, pids, folder, seconds):
        row = dict(vars(server))
        server.path = path
        try:
            return loads.closed_loop(server, port, pids, folder, connections, seconds, **options)
        finally:
            server.path = row["path"]
    return run


# name: (what it is, which servers, run(server, port, pids, folder, seconds))
LOADS = {
    "c1": ("1 connection", None, hello(1)),
    "c4": ("4 connections", None, hello(4)),
    "apart": ("single requests, a millisecond apart",
              lambda s: is_crew(s) or s.name.startswith(("nginx", "haproxy", "h2o", "kore")),
              loads.apart),
    "c64": ("64 connections", None, hello(64)),
    "c512": ("512 connections", None, hello(512)),
    "pipelined": ("64 connections, pipelined by 16",
                  lambda s: is_crew(s) or s.name in (REFERENCE, "h2o file", "nginx to nginx"),
                  hello(64, depth=16)),
    "churn": ("16 connections, a new one for each request",
              lambda s: is_crew(s) or s.name.startswith(("nginx", "h2o", "haproxy")),
              hello(16, close="true")),
    "down4": ("bodies of 4 KiB to clients", gives_bytes,
              with_path("/bytes/4096", 16)),
    "down64": ("bodies of 64 KiB to clients", gives_bytes,
               with_path("/bytes/65536", 16)),
    "down1024": ("bodies of 1 MiB to clients", gives_bytes,
                 with_path("/bytes/1048576", 16)),
    "both4": ("bodies of 4 KiB both ways", echoes,
              with_path("/echo", 16, method="POST", body=4096)),
    "both64": ("bodies of 64 KiB both ways", echoes,
               with_path("/echo", 16, method="POST", body=65536)),
    "both1024": ("bodies of 1 MiB both ways", echoes,
                 with_path("/echo", 16, method="POST", body=1048576)),
    "mixed": ("1,000 requests a second at random, 90 % trivial, 9 % of 1 ms, 1 % of 50 ms",
              lambda s: s.name == "crew, 4 workers", loads.mixed),
    "events": ("an event to 1,000 subscribers, 100 times",
               lambda s: s.name in ("crew, 2 workers", "crew, 4 workers"),
               lambda s, port, pids, folder, seconds:
               loads.fan_out(s, port, pids, folder, 1000, 100)),
    "taken": ("512 connections, one processor taken by another process",
              lambda s: is_crew(s) or s.name == REFERENCE, loads.beside_another),
    "idle": ("10,000 idle connections", lambda s: s.name in ("crew, 2 workers", REFERENCE),
             lambda s, port, pids, folder, seconds:
             loads.idle_connections(s, port, pids, folder, 10000)),
    "start": ("from exec to the first answer", lambda s: s.name in ("crew, 2 workers", REFERENCE),
              None),
}
QUICK = ("c64", "c512", "pipelined")
QUICK_SERVERS = ("crew", "nginx return", "uvicorn", "gunicorn")
CLIENTS = {"idle": 10000, "events": 1000, "c512": 512, "taken": 512}  # where they are many


def choose(options):
    """The servers that take part, and why others of them cannot."""
    chosen, left_out = [], {}
    if options.growth:
        return [servers.crew("crew", 1, "/hello")], left_out
    for server in servers.all_servers():
        if options.only and not any(text in server.name for text in options.only):
            continue
        if options.quick and not server.name.startswith(QUICK_SERVERS):
            continue
        missing = server.missing()
        if missing:
            left_out[server.name] = f"no {', '.join(missing)} (script/setup bench)"
        else:
            chosen.append(server)
    return chosen, left_out


def measure(load, server, seconds):
    run = LOADS[load][2]
    if run is None:
        return loads.start(server, None)
    with server.running() as (port, pids, folder):
        return run(server, port, pids, folder, seconds)


def run_load(load, contenders, options, found):
    """Its rows, those of each round in an order of its own, and then its table, even if a
    signal ends it."""
    title, seconds = f"{load}: {LOADS[load][0]}", options.seconds
    rows = found.begin(title, [server.name for server in contenders])
    try:
        for number in range(1, options.rounds + 1):
            for server in random.sample(contenders, len(contenders)):
                found.measure(title, server.name, number, lambda: measure(load, server, seconds))
    finally:
        if any(rows.values()):
            print("\n" + report.table(title, rows, REFERENCE), flush=True)
        if options.plots:
            report.plot(options.plots, title, rows, REFERENCE)


def run_loads(options, found, contenders, may_open):
    for load in options.loads or (QUICK if options.quick else LOADS):
        wanted = LOADS[load][1]
        some = [server for server in contenders if not wanted or wanted(server)]
        needed = CLIENTS.get(load, 64) + process.SPARE
        if not some:
            found.leave_out(load, "none of the servers takes part", bool(options.loads))
        elif needed > may_open:
            found.leave_out(load, f"takes {needed} descriptors of {may_open} (ulimit -Hn)")
        else:
            run_load(load, some, options, found)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the main figures, in two minutes")
    parser.add_argument("--growth", action="store_true",
                        help="how a request's cost grows with connections, workers, routes, "
                             "waiting requests; nothing else")
    parser.add_argument("--rounds", type=int, help="default 3; quick: 1")
    parser.add_argument("--seconds", type=int, help="of each measurement; default 3; quick: 1")
    parser.add_argument("--threads", type=int, default=1, metavar="N",
                        help="of wrk at most, default 1: as many as share a load's connections "
                             "out evenly; with more it is less often the bottleneck")
    parser.add_argument("--loads", nargs="+", choices=sorted(LOADS), metavar="LOAD",
                        help="of " + ", ".join(LOADS))
    parser.add_argument("--only", nargs="+", metavar="TEXT", help="servers whose name holds it")
    parser.add_argument("--json", metavar="FILE", help="write all rows to FILE")
    parser.add_argument("--plots", metavar="FOLDER", help="write SVG plots there")
    options = parser.parse_args()
    if not os.path.exists(servers.SAMPLER):
        sys.exit("bench: build/examples/sampler is not there: run script/build")
    if not shutil.which("wrk"):
        sys.exit("bench: wrk is not there: run script/setup bench")
    if options.threads < 1:
        parser.error("--threads: wrk needs at least one")
    if options.json and os.path.exists(options.json) and not os.path.isfile(options.json):
        parser.error(f"--json {options.json}: not a file")
    process.begin()
    may_open = process.open_many()
    loads.wrk_threads = options.threads
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.seconds = options.seconds or (1 if options.quick else 3)
    contenders, left_out = choose(options)
    found = results.Results(about.about(contenders, wrk_threads=options.threads,
                                        seconds=options.seconds, rounds=options.rounds),
                            options.json, None if options.growth else REFERENCE)
    for name, why in left_out.items():
        found.leave_out(name, why, bool(options.only))
    if options.growth:
        growth.run(options.rounds, options.seconds, may_open, found)
    else:
        run_loads(options, found, contenders, may_open)
    if not found.complete():
        sys.exit("bench: some of what was wanted was left out or failed")


main()
