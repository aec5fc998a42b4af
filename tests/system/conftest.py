# SPDX-License-Identifier: MIT
"""Starting the sampler for a test, and seeing that it leaves nothing behind."""
import json
import os
import re
import signal
import socket
import subprocess
import time

import pytest

from client import Client

BUILD = os.environ.get("CREW_BUILD", os.path.join(os.path.dirname(__file__), "..", "..", "build"))
SAMPLER = os.path.join(BUILD, "examples", "sampler")


def wait_for(condition, seconds=5.0, what="the condition"):
    """Poll until it is true; returns its value."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"{what} did not come true within {seconds} s"
        time.sleep(0.005)


def children_of(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(word) for word in file.read().split()]
    except FileNotFoundError:
        return []


def process_state(pid):
    """Its letter in proc_pid_stat(5); that of a zombie if there is none."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return "Z"


def is_alive(pid):
    return process_state(pid) != "Z"


class Server:
    running = []  # that were not stopped

    def __init__(self, folder, arguments=(), environment=None, program=SAMPLER, before=()):
        self.log_path = os.path.join(folder, "log")
        self.log_file = open(self.log_path, "wb")
        self.process = subprocess.Popen(
            [*before, program, "--listen", "127.0.0.1:0", *arguments], stdin=subprocess.DEVNULL,
            stdout=self.log_file, stderr=self.log_file,
            env={**os.environ, **(environment or {})})
        self.pid = self.process.pid
        self.address = None
        try:
            self.wait_until_ready()
        except BaseException:
            self.process.kill()
            raise
        self.known = set(children_of(self.pid))
        Server.running.append(self)

    def wait_until_ready(self):
        found = wait_for(lambda: re.search(r"listening on ([^\s\"]+)", self.log()) or
                         self.process.poll() is not None, what="the server's start")
        assert found is not True, self.log()
        name = found.group(1)
        if name.startswith("unix:"):
            self.address = re.sub("^@", "\0", name[5:])
        else:
            host, port = name.rsplit(":", 1)
            self.address = (host.strip("[]"), int(port))
        wait_for(lambda: self.get("/ready").status == 200, what="readiness")

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def client(self, **options):
        return Client(self.address, **options)

    def get(self, target):
        with self.client() as client:
            return client.get(target)

    def status(self):
        status = json.loads(self.get("/status").body)
        self.known.update(one["pid"] for one in status["dispatchers"])
        for pool in status["pools"]:
            self.known.update(worker["pid"] for worker in pool["workers"] if worker["pid"])
        return status

    def workers(self, pool=0):
        """The pids of a pool's workers, once all places are filled: of a worker that is
        being born the pid is 0, and a signal to 0 would end the tests."""
        def pids():
            return [worker["pid"] for worker in self.status()["pools"][pool]["workers"]]
        return wait_for(lambda: (lambda found: found if all(found) else None)(pids()))

    def dispatcher(self):
        return self.status()["dispatchers"][0]["pid"]

    def stop(self, how=signal.SIGTERM, seconds=15):
        """Stop it in order; it must leave no process behind."""
        if self in Server.running:
            Server.running.remove(self)
        if self.process.poll() is None:
            self.known.update(children_of(self.pid))
            self.process.send_signal(how)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError("the server did not stop:\n" + self.log())
        self.log_file.close()
        wait_for(lambda: not any(is_alive(pid) for pid in self.known),
                 what="the end of all children")
        return self.process.returncode


@pytest.fixture(scope="module")
def always():
    """Arguments of every sampler of a module that says so."""
    return ()


@pytest.fixture
def start(tmp_path, always):
    """A function that starts a sampler; all are stopped after the test."""
    servers = []

    def starter(*arguments, **environment):
        folder = tmp_path / str(len(servers))
        folder.mkdir()
        servers.append(Server(str(folder), [*arguments, *always], environment))
        return servers[-1]

    yield starter
    for server in servers:
        server.stop()


@pytest.fixture(scope="module")
def server(tmp_path_factory, always):
    """One sampler for all tests of a module that do it no harm."""
    running = Server(str(tmp_path_factory.mktemp("sampler")), ["--workers", "2", *always])
    yield running
    assert running.stop() == 0


@pytest.fixture
def hooked(tmp_path):
    """A function that starts tests/programs/hooked; it is stopped after the test."""
    servers = []

    def starter(*arguments):
        servers.append(Server(str(tmp_path), arguments,
                              program=os.path.join(BUILD, "tests", "hooked")))
        return servers[-1]

    yield starter
    for server in servers:
        server.stop()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def pytest_sessionfinish():
    """A test that failed may have left its server behind."""
    for server in list(Server.running):
        server.stop()
