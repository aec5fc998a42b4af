#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Compare variants of crew more finely than rounds can: all of them run at once, each with a
wrk of its own, and take turns in slices of a fifth of a second, of which all but one wrk are
stopped. Differences are of slices of the same turn, so the machine's moods are in both.

A variant is the sampler's options in one word ('' for none), with BUILD@ before them for
another build's, or nginx; a path before the options is what is asked of this one. The first is
what the others are compared with. An answer is what wrk reads at once: with --depth, or answers
of many KiB, figures compare variants and are no request's.

    bench/slices.py '' '--loop epoll' nginx
    bench/slices.py --connections 512 -- ../before/build@ '' --policy=normal
    bench/slices.py -- /local/hello '' '--coalesce off'"""
import argparse
import contextlib
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import figures
import loads
import servers

REST_S = 0.01  # until who was stopped is
AWAY_S = 0.03  # at the beginning of a slice, not counted


class Variant:
    def __init__(self, text, server):
        self.text, self.server = text, server
        self.pids = self.load = None
        self.cpu_us, self.rps, self.switches = [], [], []

    @contextlib.contextmanager
    def running(self, options):
        with self.server.running() as (port, pids, folder), \
                tempfile.TemporaryDirectory(prefix="crew-slices-") as scripts:
            self.pids = pids()
            path = os.path.join(scripts, "load.lua")
            with open(path, "w", encoding="utf-8") as file:
                file.write(loads.SCRIPT.format(depth=options.depth, body=0, method="GET",
                                               close="false", path=self.server.path))
            command = ["wrk", "-t1", f"-c{options.connections}", "-d24h", "-s", path,
                       f"http://127.0.0.1:{port}"]
            if options.pin:
                first, second = sorted(os.sched_getaffinity(0))[:2]
                command = ["taskset", "-c", str(second), *command]
                for pid in self.pids:
                    os.sched_setaffinity(pid, {first})
            self.load = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            try:
                time.sleep(0.5)
                self.load.send_signal(signal.SIGSTOP)
                yield
            finally:
                self.load.kill()
                self.load.wait()

    def answers(self):
        """So many reads wrk has made: one for each, or for all that are there at once."""
        with open(f"/proc/{self.load.pid}/io", encoding="ascii") as file:
            return int(re.search(r"^syscr: (\d+)", file.read(), re.M).group(1))

    def slice(self, seconds):
        self.load.send_signal(signal.SIGCONT)
        time.sleep(AWAY_S)
        account, before, began = figures.Account(self.pids), self.answers(), time.monotonic()
        time.sleep(seconds)
        count, took = self.answers() - before, time.monotonic() - began
        row = account.end(count)
        self.load.send_signal(signal.SIGSTOP)
        time.sleep(REST_S)
        self.cpu_us.append(row["cpu_us"])
        self.switches.append(row["switches"])
        self.rps.append(max(count, 1) / took)


def variant(text, options):
    if text == "nginx":
        server = next(s for s in servers.all_servers() if s.name == "nginx return")
    else:
        build, _, rest = text.rpartition("@")
        path, arguments = options.path, rest.split()
        if arguments and arguments[0].startswith("/"):
            path = arguments.pop(0)
        server = servers.crew(text, options.workers, path, *arguments)
        if build:
            server.commands[0][0] = os.path.abspath(os.path.join(build, "examples", "sampler"))
    if server.missing():
        sys.exit(f"slices: {server.missing()[0]} is not there: run "
                 f"{'script/setup bench' if text == 'nginx' else 'script/build in its checkout'}")
    return Variant(text or "(no options)", server)


def median_and_error(values):
    """The median, and its standard error if they are spread normally."""
    return (statistics.median(values),
            1.253 * statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0)


def show(variants):
    first = variants[0]
    print(f"{'':40} CPU us   difference   ratio  req/s, ratio  switches")
    for one in variants:
        differences = [mine - its for mine, its in zip(one.cpu_us, first.cpu_us)]
        middle, error = median_and_error(differences)
        ratio = statistics.median(mine / its for mine, its in zip(one.cpu_us, first.cpu_us))
        rate = statistics.median(mine / its for mine, its in zip(one.rps, first.rps))
        print(f"{one.text[-40:]:40} {statistics.median(one.cpu_us):6.2f} {middle:+7.2f} ±{error:.2f}"
              f"  {ratio:6.3f}        {rate:6.3f}    {statistics.median(one.switches):6.3f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="+", metavar="VARIANT")
    parser.add_argument("--connections", type=int, default=64, help="default 64")
    parser.add_argument("--depth", type=int, default=1, help="requests pipelined, default 1")
    parser.add_argument("--workers", type=int, default=1, help="default 1")
    parser.add_argument("--path", default="/hello", help="default /hello")
    parser.add_argument("--turns", type=int, default=100, help="default 100")
    parser.add_argument("--ms", type=int, default=200, help="of each slice, default 200")
    parser.add_argument("--pin", action="store_true",
                        help="servers on the first processor, wrk on the second")
    options = parser.parse_args()
    if not shutil.which("wrk"):
        sys.exit("slices: wrk is not there: run script/setup bench")
    if options.pin and len(os.sched_getaffinity(0)) < 2:
        sys.exit("slices: --pin needs two processors: leave it out")
    variants = [variant(text, options) for text in options.variants]
    with contextlib.ExitStack() as stack:
        try:
            for one in variants:
                stack.enter_context(one.running(options))
        except RuntimeError as failure:
            sys.exit(f"slices: {failure}")
        order = list(variants)
        for _ in range(options.turns):
            random.shuffle(order)
            for one in order:
                one.slice(options.ms / 1000)
    show(variants)


if __name__ == "__main__":
    main()
