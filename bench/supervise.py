#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What the supervisor itself costs: its share of a processor while its children idle, its
memory, how soon a killed child is replaced, and whether that grows with their number.

Memory is told three ways: its own (private, plus its share of what it shares: PSS), of that
what is neither file nor program (anonymous and shared memory), and the resident size, which
counts pages of libc and the library that everyone shares."""
import argparse
import json
import os
import signal
import subprocess
import sys
import time

import process
import servers

PROGRAM = os.path.join(servers.BUILD, "tests", "supervised")


class Supervisor:
    def __init__(self, count, kind):
        self.process = subprocess.Popen(
            [PROGRAM, "--count", str(count), "--kind", kind, "--rest", "5000", "--level", "50"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.pid = self.process.pid
        self.pids = [self.event("ready")["pid"] for _ in range(count)]

    def event(self, kind):
        for line in self.process.stdout:
            if line.startswith(b"{"):
                event = json.loads(line)
                if event["event"] == kind:
                    return event
        sys.exit("the program ended")

    def cpu_ns(self):
        with open(f"/proc/{self.pid}/schedstat", encoding="ascii") as file:
            return int(file.read().split()[0])

    def memory(self):
        with open(f"/proc/{self.pid}/smaps_rollup", encoding="ascii") as file:
            rows = [line.split() for line in file]
        kib = {row[0].rstrip(":"): int(row[1]) for row in rows if row[-1] == "kB"}
        return kib["Pss"], kib["Pss_Anon"] + kib["Pss_Shmem"], kib["Rss"]

    def replaced_ms(self, kills):
        took = []
        for number in range(kills):
            os.kill(self.pids[number], signal.SIGKILL)
            death = self.event("death")
            took.append((self.event("ready")["at"] - death["at"]) * 1000)
            time.sleep(0.02)
        return sorted(took)

    def stop(self):
        self.process.terminate()
        self.process.stdout.read()
        self.process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10, help="of idleness")
    parser.add_argument("--children", type=int, nargs="+", default=[10, 50, 200])
    options = parser.parse_args()
    process.begin()
    process.open_many()
    print(f"{'children':16} {'idle CPU %':>10} {'PSS KiB':>8} {'own KiB':>8} {'RSS KiB':>8}"
          f" {'replaced: p50, max ms':>22}")
    for kind in ("process", "thread"):
        for count in options.children:
            supervisor = Supervisor(count, kind)
            time.sleep(0.5)
            before = supervisor.cpu_ns()
            time.sleep(options.seconds)
            idle = (supervisor.cpu_ns() - before) / options.seconds / 1e7
            pss, own, rss = supervisor.memory()
            took = supervisor.replaced_ms(10) if kind == "process" else None
            times = f"{took[5]:.2f}, {took[-1]:.2f}" if took else "-"
            print(f"{count:4} {kind:11} {idle:10.2f} {pss:8} {own:8} {rss:8} {times:>22}")
            supervisor.stop()


main()
