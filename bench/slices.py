#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Compare variants of crew more finely than rounds can: all of them run at once, each with a
wrk of its own, and take turns in slices of a fifth of a second, of which all but one wrk are
stopped. Differences are of slices of the same turn, so the machine's moods are in both. A turn
in which a hypervisor gave processors to others does not count; it is made again, so long as no
more are left out than were wanted.

A variant is the sampler's options in one word ('' for none), with BUILD@ before them for
another build's, or nginx; a path before the options is what is asked of this one. The first is
what the others are compared with. An answer is what wrk reads at once: with --depth, or answers
of many KiB, figures compare variants and are no request's.

Where a process lies in memory is part of its speed too: with --starts, all are started anew so
many times, and the error is of what these differ by.

    bench/slices.py '' '--loop epoll' nginx
    bench/slices.py --connections 512 -- ../before/build@ '' --policy=normal
    bench/slices.py -- /local/hello '' '--coalesce off'"""
import argparse
import contextlib
import operator
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import figures
import loads
import process
import servers

REST_S = 0.01  # until who was stopped is
AWAY_S = 0.03  # at the beginning of a slice, not counted


class Variant:
    def __init__(self, text, server):
        self.text, self.server = text, server
        self.pids = self.load = None
        self.starts = []  # the rows of each

    @contextlib.contextmanager
    def running(self, options):
        self.starts.append([])
        with self.server.running() as (port, pids, folder), \
                tempfile.TemporaryDirectory(prefix="crew-slices-") as scripts:
            self.pids = pids()
            path = os.path.join(scripts, "load.lua")
            with open(path, "w", encoding="utf-8") as file:
                file.write(loads.SCRIPT.format(depth=options.depth, body=0, method="GET",
                                               close="false", path=self.server.path))
            command = ["wrk", f"-t{loads.threads_for(options.connections)}",
                       f"-c{options.connections}", "-d24h", "-s", path, f"http://127.0.0.1:{port}"]
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
        return loads.answers_of(self.load.pid)

    def slice(self, seconds):
        self.load.send_signal(signal.SIGCONT)
        time.sleep(AWAY_S)
        account, before, began = figures.Account(self.pids), self.answers(), time.monotonic()
        time.sleep(seconds)
        count, took = self.answers() - before, time.monotonic() - began
        row = account.end(count)
        self.load.send_signal(signal.SIGSTOP)
        time.sleep(REST_S)
        row["rps"] = max(count, 1) / took
        return row


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


def middle_and_error(starts):
    """The median of one start, with its standard error if values are spread normally; or the
    mean of the medians of several."""
    if len(starts) == 1:
        found, factor, values = statistics.median(starts[0]), 1.253, starts[0]
    else:
        values, factor = [statistics.median(values) for values in starts], 1.0
        found = statistics.mean(values)
    return found, factor * statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0


def middle(one, other, key, compare):
    """Of what one is to the other within a turn."""
    return middle_and_error([[compare(mine[key], its[key]) for mine, its in zip(a, b)]
                             for a, b in zip(one.starts, other.starts)])


def show(variants):
    first = variants[0]
    print(f"{'':40} CPU us   difference   ratio  req/s, ratio  switches")
    for one in variants:
        cpu_us = middle(one, one, "cpu_us", lambda mine, _: mine)[0]
        switches = middle(one, one, "switches", lambda mine, _: mine)[0]
        difference, error = middle(one, first, "cpu_us", operator.sub)
        ratio = middle(one, first, "cpu_us", operator.truediv)[0]
        rate = middle(one, first, "rps", operator.truediv)[0]
        print(f"{one.text[-40:]:40} {cpu_us:6.2f} {difference:+7.2f} ±{error:.2f}"
              f"  {ratio:6.3f}        {rate:6.3f}    {switches:6.3f}")


def start(variants, turns, seconds, may_skip, options):
    """In how many turns others had processors: of those that did not count, and that did."""
    skipped = disturbed = 0
    with contextlib.ExitStack() as stack:
        for one in variants:
            stack.enter_context(one.running(options))
        order = list(variants)
        while turns > 0:
            random.shuffle(order)
            stolen = figures.Stolen()  # in a slice a tick of its clock would be too much
            rows = [(one, one.slice(seconds)) for one in order]
            if stolen.part() > stolen.MAX:
                if skipped < may_skip:
                    skipped += 1
                    continue
                disturbed += 1
            turns -= 1
            for one, row in rows:
                one.starts[-1].append(row)
    return skipped, disturbed


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="+", metavar="VARIANT")
    parser.add_argument("--connections", type=int, default=64, help="default 64")
    parser.add_argument("--threads", type=int, default=1,
                        help="of wrk at most, default 1; with more it is less often the bottleneck")
    parser.add_argument("--depth", type=int, default=1, help="requests pipelined, default 1")
    parser.add_argument("--workers", type=int, default=1, help="default 1")
    parser.add_argument("--path", default="/hello", help="default /hello")
    parser.add_argument("--turns", type=int, default=100, help="default 100")
    parser.add_argument("--starts", type=int, default=1,
                        help="among which the turns are divided, default 1")
    parser.add_argument("--ms", type=int, default=200, help="of each slice, default 200")
    parser.add_argument("--pin", action="store_true",
                        help="servers on the first processor, wrk on the second")
    options = parser.parse_args()
    if not shutil.which("wrk"):
        sys.exit("slices: wrk is not there: run script/setup bench")
    if options.pin and len(os.sched_getaffinity(0)) < 2:
        sys.exit("slices: --pin needs two processors: leave it out")
    if not 1 <= options.starts <= options.turns:
        parser.error("--starts: each needs at least one turn")
    if options.threads < 1:
        parser.error("--threads: wrk needs at least one")
    loads.wrk_threads = options.threads
    process.begin()
    if options.connections + process.SPARE > (may_open := process.open_many()):
        sys.exit(f"slices: {options.connections} connections take more descriptors than {may_open} "
                 "(ulimit -Hn)")
    variants = [variant(text, options) for text in options.variants]
    skipped = disturbed = 0
    turns = [options.turns // options.starts + (number < options.turns % options.starts)
             for number in range(options.starts)]
    try:
        for count in turns:
            in_vain, anyway = start(variants, count, options.ms / 1000, count, options)
            skipped += in_vain
            disturbed += anyway
    except (RuntimeError, OSError) as failure:
        sys.exit(f"slices: {failure}")
    show(variants)
    if skipped:
        print(f"{skipped} turns more, in which others had processors, do not count; "
              f"{disturbed} of the {options.turns} that do were no better")


if __name__ == "__main__":
    main()
