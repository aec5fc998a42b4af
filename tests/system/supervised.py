# SPDX-License-Identifier: MIT
"""The program of tests/programs/supervised.c, as tests see it: its events, its log,
its processes."""
import json
import os
import signal
import subprocess
import threading
import time

import pytest

from conftest import BUILD, children_of, is_alive, wait_for

SUPERVISED = os.path.join(BUILD, "tests", "supervised")
# So a program is sent the signal EARLY_SIGNAL while it starts (see tests/programs/early.c).
EARLY = {"LD_PRELOAD": os.path.abspath(os.path.join(BUILD, "tests", "early.so"))}
# Exit code N of a child: signal SIGRTMIN + N (see the program).
EXIT_CODES = [0] + list(range(64, 79))


class Supervised:
    def __init__(self, *arguments, folder, wrapper=(), **options):
        self.log_path = os.path.join(folder, "log")
        self.log_file = open(self.log_path, "wb")
        options.setdefault("stderr", self.log_file)
        self.process = subprocess.Popen(
            [*wrapper, SUPERVISED, *[str(argument) for argument in arguments]],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options)
        self.pid = self.process.pid
        self.events = []
        self.other = []
        self.known = set()
        self.news = threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            text = line.decode("utf-8", "replace").rstrip("\n")
            with self.news:
                if text.startswith("{"):
                    event = json.loads(text)
                    event["seen"] = time.monotonic()
                    self.known.add(event.get("pid", 0))
                    self.events.append(event)
                else:
                    self.other.append(text)
                self.news.notify_all()
        with self.news:
            self.events.append({"event": "eof"})
            self.news.notify_all()

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def all(self, kind, **fields):
        return [event for event in list(self.events) if event["event"] == kind and
                all(event.get(name) == value for name, value in fields.items())]

    def wait(self, kind, count=1, seconds=10.0, **fields):
        """Wait until there are so many events of that kind; returns the last of them."""
        end = time.monotonic() + seconds
        with self.news:
            while len(self.all(kind, **fields)) < count:
                left = end - time.monotonic()
                assert left > 0, (f"no {count} events {kind} {fields} within {seconds} s:\n" +
                                  "\n".join(map(str, self.events[-20:])) + "\n" + self.log())
                self.news.wait(left)
        return self.all(kind, **fields)[count - 1]

    def command(self, text):
        """A command to the parent (--own-loop); returns what it said."""
        word = text.split()[0]
        before = len(self.all("done", command=word))
        start = len(self.events)
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()
        done = self.wait("done", before + 1, command=word)
        return done["result"], self.events[start:self.events.index(done)]

    def children(self):
        return [event for event in self.command("children")[1] if event["event"] == "child"]

    def pids(self):
        return children_of(self.pid)

    def stop(self, how=signal.SIGTERM, seconds=15):
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("it did not stop:\n" + self.log()) from None
        self.reader.join(5)
        self.process.stdin.close()
        self.log_file.close()
        self.known.discard(0)
        self.known.discard(self.pid)
        wait_for(lambda: not any(is_alive(pid) for pid in self.known),
                 what="the end of all children")
        return self.process.returncode


@pytest.fixture
def supervised(tmp_path):
    """A function that starts the program; all are stopped after the test."""
    running = []

    def starter(*arguments, **options):
        folder = tmp_path / f"run{len(running)}"
        folder.mkdir()
        running.append(Supervised(*arguments, folder=str(folder), **options))
        return running[-1]

    yield starter
    for program in running:
        if program.process.poll() is None:
            program.stop()


def fds_of(pid):
    folder = f"/proc/{pid}/fd"
    fds = {}
    for name in os.listdir(folder):
        try:
            fds[name] = os.readlink(os.path.join(folder, name))
        except FileNotFoundError:  # closed meanwhile
            pass
    return fds


def status_of(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
