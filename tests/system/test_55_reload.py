# SPDX-License-Identifier: MIT
"""Reload, scaling, threads as workers, degraded pools: under load, and nothing lost."""
import json
import os
import select
import signal
import threading
import time

import pytest

from conftest import Server, children_of, is_alive, wait_for

CLASSES = ["process", "thread"]


class Load:
    """Clients that ask without pause until told to stop; each wrong answer is kept."""

    def __init__(self, server, count=4, target="/echo", refused=()):
        self.server, self.target, self.refused = server, target, refused
        self.stopping = threading.Event()
        self.wrong = []
        self.asked = 0
        self.threads = [threading.Thread(target=self._run, args=(n,)) for n in range(count)]
        for thread in self.threads:
            thread.start()

    def _run(self, number):
        try:
            with self.server.client(timeout=20) as client:
                turn = 0
                while not self.stopping.is_set():
                    body = f"{number}.{turn}".encode() * 20
                    answer = client.request("POST", self.target, body)
                    turn += 1
                    self.asked += 1
                    if answer.status in self.refused:
                        continue
                    if answer.status != 200 or answer.body != body:
                        self.wrong.append((answer.status, answer.body[:200]))
        except Exception as error:  # a broken connection is a wrong answer too
            self.wrong.append(repr(error))

    def go_on(self, count):
        """Waits until so many more answers have come."""
        goal = self.asked + count
        wait_for(lambda: self.asked >= goal or self.wrong, 60, "more answers")

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()
        return self.wrong


def generations(server):
    return sorted(worker["generation"] for worker in server.status()["pools"][0]["workers"]
                  if worker["state"] in ("ready", "busy"))


@pytest.mark.parametrize("kind", CLASSES)
def test_reload_under_load_loses_nothing(start, kind):
    server = start("--workers", "3", "--worker-class", kind)
    load = Load(server)
    for turn in range(10):
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda turn=turn: generations(server) == [turn + 2] * 3, what="the new workers")
        load.go_on(50)
    assert load.stop() == []
    assert server.status()["pools"][0]["restarts"] == 0
    dispatcher = server.status()["dispatchers"][0]
    assert dispatcher["generation"] == 1, "the dispatcher keeps its clients"


def test_one_pool_is_reloaded_without_the_others(start):
    server = start("--workers", "3")
    load = Load(server)
    items = server.workers(1)
    with server.client() as client:
        for turn in range(5):
            assert client.request("POST", "/reload?pool=sampler", b"").status == 202
            wait_for(lambda turn=turn: generations(server) == [turn + 2] * 3)
            load.go_on(20)
        assert client.request("POST", "/reload?pool=nobody", b"").status == 404
        assert load.stop() == []
        assert server.workers(1) == items
        assert client.request("POST", "/reload", b"").status == 202
        wait_for(lambda: server.workers(1) != items and generations(server) == [7] * 3)


@pytest.mark.parametrize("kind", CLASSES)
def test_a_reload_lets_a_slow_request_finish(start, kind):
    server = start("--workers", "1", "--worker-class", kind)
    with server.client() as client:
        client.send(b"GET /sleep/3000 HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: server.status()["pools"][0]["workers"][0]["requests"])
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: json.loads(server.get("/whoami").body)["generation"] == 2)
        assert not select.select([client.socket], [], [], 0)[0], "the old one is still busy"
        assert client.answer().status == 200


@pytest.mark.parametrize("kind", CLASSES)
def test_a_reload_lets_a_request_finish_that_is_kept_alive(start, kind):
    server = start("--workers", "1", "--worker-class", kind, SAMPLER_REQUEST_TIMEOUT_MS="1000")
    with server.client(timeout=30) as client:
        client.send(b"GET /alive/8000 HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: server.status()["pools"][0]["workers"][0]["requests"])
        server.process.send_signal(signal.SIGHUP)
        assert client.answer().status == 200


@pytest.mark.parametrize("kind", CLASSES)
def test_scaling_under_load_loses_nothing(start, kind):
    server = start("--workers", "2", "--worker-class", kind)
    load = Load(server)
    for _ in range(3):
        for wanted in (3, 4):
            server.process.send_signal(signal.SIGTTIN)
            wait_for(lambda wanted=wanted: len(generations(server)) == wanted)
        for wanted in (3, 2):
            server.process.send_signal(signal.SIGTTOU)
            wait_for(lambda wanted=wanted: len(server.status()["pools"][0]["workers"]) == wanted)
    assert load.stop() == []


@pytest.mark.parametrize("kind", CLASSES)
def test_each_pool_is_scaled_by_itself(start, kind):
    server = start("--workers", "sampler=3", "--workers", "items=2", "--worker-class", kind)

    def counts():
        return [len(pool["workers"]) for pool in server.status()["pools"]]
    assert counts() == [3, 2]
    load = Load(server)
    with server.client() as client:
        def scale(by, pool="items"):
            return client.request("POST", f"/scale/{by}?pool={pool}", b"").status
        for by, wanted in ((3, 5), (-1, 4), (-3, 1), (1, 2)):
            assert scale(by) == 202
            wait_for(lambda wanted=wanted: counts() == [3, wanted])
        assert scale(-2147483648) == 202
        wait_for(lambda: "items: only one is left: it stays" in server.log())
        wait_for(lambda: counts() == [3, 1])
        assert scale(2, "nobody") == 404
        assert client.request("POST", "/scale/2", b"").status == 404, "no name"
        assert scale(-2, "sampler") == 202
        wait_for(lambda: counts() == [1, 1])
    load.go_on(50)
    assert load.stop() == []
    assert "items: 3 more, 5 now" in server.log() and "items: 3 less, 1 now" in server.log()
    assert all(pool["restarts"] == 0 for pool in server.status()["pools"])


def states(server):
    return [worker["state"] for worker in server.status()["pools"][0]["workers"]]


@pytest.mark.parametrize("kind", CLASSES)
def test_a_place_that_comes_back_while_its_worker_drains(start, kind):
    server = start("--workers", "2", "--worker-class", kind)

    def keep_both_busy(milliseconds):
        for client in (one, other):
            client.send(b"GET /sleep/%d HTTP/1.1\r\nHost: x\r\n\r\n" % milliseconds)
        wait_for(lambda: states(server) == ["busy", "busy"], what="work for both")
    with server.client() as one, server.client() as other:
        keep_both_busy(600)
        server.process.send_signal(signal.SIGTTOU)
        wait_for(lambda: "one less" in server.log())
        server.process.send_signal(signal.SIGTTIN)
        wait_for(lambda: 2 in generations(server))
        load = Load(server, count=2)
        assert [client.answer().status for client in (one, other)] == [200, 200]
        wait_for(lambda: len(states(server)) == 2, what="the end of the old one")
        load.go_on(50)
        assert load.stop() == []
        keep_both_busy(200)
        assert [client.answer().status for client in (one, other)] == [200, 200]


@pytest.mark.parametrize("kind", CLASSES)
def test_a_worker_that_somebody_asks_to_leave_is_replaced(start, kind):
    server = start("--workers", "1", "--worker-class", kind)
    load = Load(server, count=2)
    with server.client() as client:
        client.send(b"GET /sleep/300 HTTP/1.1\r\nHost: x\r\n\r\n")
        os.kill(server.workers()[0], signal.SIGTERM)
        wait_for(lambda: generations(server) == [2], what="the new worker")
        assert client.answer().status == 200
    load.go_on(20)
    assert load.stop() == []
    assert server.log().count("was asked to stop by another process") == 1


@pytest.mark.parametrize("kind", CLASSES)
def test_a_stop_of_all_processes_at_once_answers_all(tmp_path, kind):
    """As systemd does it by default: workers hear of it before their dispatcher is done."""
    server = Server(str(tmp_path), ["--workers", "1", "--worker-class", kind], before=["setsid"])
    clients = [server.client() for _ in range(4)]
    try:
        for client in clients:
            client.send(b"GET /sleep/100 HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: server.status()["pools"][0]["queue"] > 0)
        os.killpg(server.pid, signal.SIGTERM)
        assert [client.answer().status for client in clients] == [200] * 4
        for client in clients:
            client.socket.close()
        assert server.process.wait(10) == 0
    finally:
        server.stop()


def test_a_timeout_of_nearly_for_ever_is_none_of_a_moment(start):
    """With what is added to each they would be 300 ms, if they were added without a look."""
    server = start("--workers", "1", SAMPLER_REQUEST_TIMEOUT_MS=str(2**32 - 4700),
                   SAMPLER_SHUTDOWN_MS=str(2**32 - 1700))
    with server.client() as one, server.client() as other:
        one.send(b"GET /sleep/700 HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: server.status()["pools"][0]["in_hand"] == 1)
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: 2 in generations(server))
        other.send(b"GET /sleep/700 HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: server.status()["pools"][0]["in_hand"] == 2)
        server.process.terminate()
        assert [client.answer().status for client in (one, other)] == [200, 200]
    assert server.process.wait(10) == 0


def test_a_storm_of_all_signals_under_load(start):
    server = start("--workers", "3")
    load = Load(server)
    signals = [signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGUSR1, signal.SIGCHLD]
    for turn in range(200):
        server.process.send_signal(signals[(turn * 7) % 5])
        time.sleep(0.01)
    load.go_on(50)
    assert load.stop() == []


def test_threads_are_workers_of_one_process(start):
    server = start("--workers", "3", "--worker-class", "thread")
    assert len(set(server.workers())) == 1
    load = Load(server, target="/echo/5")
    time.sleep(0.5)
    assert load.stop() == []
    assert all(worker["served"] > 0 for worker in server.status()["pools"][0]["workers"])


def test_a_crash_of_a_thread_takes_its_process_and_all_come_back(start):
    server = start("--workers", "3", "--worker-class", "thread")
    before = server.workers()[0]
    assert server.get("/crash/segv").status == 502
    wait_for(lambda: set(server.workers()).isdisjoint({before}) and
             len(generations(server)) == 3)
    for _ in range(20):
        assert server.get("/hello").status == 200


def test_a_stuck_thread_is_replaced_and_listed_as_stale(start):
    server = start("--workers", "2", "--worker-class", "thread", SAMPLER_HEARTBEAT_MS="600",
                   SAMPLER_REQUEST_TIMEOUT_MS="400")
    pid = server.workers()[0]
    with server.client() as client:
        client.send(b"GET /sleep/3000 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.answer().status == 504
        wait_for(lambda: "is listed as stale" in server.log())
        for _ in range(50):
            assert client.get("/hello").status == 200
    assert set(server.workers()) == {pid}, "the same process"
    wait_for(lambda: "stale" not in [worker["state"] for worker in
                                     server.status()["pools"][0]["workers"]], 5,
             "the end of the stale thread")
    assert len(generations(server)) == 2


def test_a_degraded_pool_answers_503_and_recovers(start):
    server = start("--workers", "1", SAMPLER_MAX_RESTARTS="2", SAMPLER_DEGRADED_RETRY_MS="1500")
    for _ in range(3):
        assert server.get("/crash/abort").status == 502
    wait_for(lambda: server.status()["pools"][0]["state"] == "degraded")
    began = time.monotonic()
    answer = server.get("/hello")
    assert answer.status == 503 and "degraded" in json.loads(answer.body)["error"]
    assert answer.header("Retry-After")
    assert time.monotonic() - began < 1, "it does not wait for a worker"
    assert server.get("/ready").status == 503
    assert server.get("/api/items").status == 200, "the other pool works"
    wait_for(lambda: server.get("/hello").status == 200, 10, "another try")
    wait_for(lambda: server.status()["pools"][0]["state"] == "ready", 10, "the recovery")


def test_who_waits_when_the_last_worker_of_a_degraded_pool_dies_is_told(start):
    server = start("--workers", "2", SAMPLER_MAX_RESTARTS="2", SAMPLER_DEGRADED_RETRY_MS="60000")
    keeps, *_ = server.workers()

    def others():
        return [worker["pid"] for worker in server.status()["pools"][0]["workers"]
                if worker["pid"] not in (0, keeps)]
    for _ in range(3):
        pid, = wait_for(others)
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: pid not in others())
    wait_for(lambda: "is degraded" in server.log() and not others())
    with server.client(timeout=30) as first, server.client(timeout=30) as second:
        first.send(b"GET /sleep/20000 HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: server.status()["pools"][0]["workers"][0]["state"] == "busy")
        second.send(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: server.status()["pools"][0]["queue"] == 1)
        os.kill(keeps, signal.SIGKILL)
        began = time.monotonic()
        assert first.answer().status == 502
        assert second.answer().status == 503
        assert time.monotonic() - began < 3, "it does not wait for a worker"


@pytest.mark.parametrize("kind", CLASSES)
def test_workers_that_have_run_their_requests_are_replaced_and_lose_nothing(start, kind):
    server = start("--workers", "3", "--worker-class", kind, "--max-requests", "200")
    load = Load(server, target="/echo/1") # slow enough for all workers to have their part
    for generation in (2, 3):
        wait_for(lambda generation=generation: load.wrong or (
                     len(generations(server)) == 3 and
                     generations(server)[0] >= generation), 60, "the next workers")
    load.go_on(50)
    assert load.stop() == []
    status = server.status()["pools"][0]
    assert status["restarts"] == 0
    assert "has done its share: another one takes its place" in server.log()


def test_the_requests_of_a_worker_are_not_limited_unless_asked_for(start):
    server = start("--workers", "1")
    with server.client() as client:
        for _ in range(300):
            assert client.get("/hello").status == 200
    assert "has done its share" not in server.log()
    assert generations(server) == [1]


@pytest.fixture
def growing(hooked, tmp_path, monkeypatch):
    """The server, and a function that lets its requests go on."""
    monkeypatch.setenv("HOOKED_RSS_MIB", "128")
    monkeypatch.setenv("HOOKED_GO", str(tmp_path / "go"))
    yield hooked, (tmp_path / "go").touch
    (tmp_path / "go").touch()


@pytest.mark.parametrize("kind", CLASSES)
def test_workers_that_become_too_large_are_replaced_and_lose_nothing(growing, kind):
    start, go_on = growing
    server = start("--workers", "4", "--worker-class", kind)
    before = server.workers()
    clients = [server.client(timeout=60) for _ in before]
    try:
        for client in clients:
            client.send(b"GET /grow/110 HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: generations(server) == [2] * 4, 30, "four new workers")
        go_on()
        assert [client.answer().status for client in clients] == [200] * 4
    finally:
        for client in clients:
            client.socket.close()
    wait_for(lambda: not set(before) & set(server.workers()), what="the end of the old ones")
    assert "more memory than its limit: another one takes its place" in server.log()
    assert "was killed" not in server.log()


def test_a_worker_that_grows_on_is_killed(growing):
    server = growing[0]("--workers", "1")
    assert server.get("/grow/140").status == 502
    assert "was killed, cause: memory limit" in server.log()


def test_a_daemons_relative_socket_is_where_it_was_started(tmp_path):
    import subprocess
    from client import Client
    from conftest import SAMPLER
    done = subprocess.run([SAMPLER, "--listen", "unix:here.sock", "--workers", "1", "--daemon",
                           "--pidfile", "pid", "--log-file", "log"], cwd=tmp_path, timeout=20,
                          capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stderr) == (0, "")
    pid = int((tmp_path / "pid").read_text())
    family = children_of(pid)
    try:
        with Client(str(tmp_path / "here.sock")) as client:
            wait_for(lambda: client.get("/hello").status == 200)
    finally:
        os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not is_alive(pid) and not any(map(is_alive, family)), 10)
    assert not (tmp_path / "here.sock").exists()


def test_a_daemon(tmp_path):
    from conftest import SAMPLER, free_port
    import subprocess
    from client import Client
    port = free_port()
    pidfile, log = tmp_path / "pid", tmp_path / "log"
    command = [SAMPLER, "--listen", f"127.0.0.1:{port}", "--workers", "2", "--daemon",
               "--pidfile", str(pidfile), "--log-file", str(log)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False,
                          stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    pid = int(pidfile.read_text())
    try:
        with Client(("127.0.0.1", port)) as client:
            assert client.get("/hello").status == 200
        again = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False,
                               stdin=subprocess.DEVNULL)
        assert again.returncode == 1
        assert f"already running, pid {pid}" in again.stderr
        family = children_of(pid)
        moved = tmp_path / "log.old"
        log.rename(moved)
        os.kill(pid, signal.SIGUSR1)
        wait_for(log.exists)
        os.kill(pid, signal.SIGHUP)
        wait_for(lambda: "rolling restart" in log.read_text())
    finally:
        os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not is_alive(pid) and not any(map(is_alive, family)), 10)
    assert not pidfile.exists()


def test_restarts_stay_counted_while_a_worker_leaves(start):
    server = start("--workers", "1")

    def restarts():
        return server.status()["pools"][0]["restarts"]
    os.kill(server.workers()[0], signal.SIGKILL)
    wait_for(lambda: restarts() == 1 and generations(server) == [2])
    with server.client() as client:
        client.send(b"GET /defer/800 HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: server.status()["pools"][0]["in_hand"] == 1)
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: generations(server) == [3])
        seen = {restarts() for _ in range(20)}
        assert client.answer().status == 200
    assert seen == {1}
    wait_for(lambda: len(server.status()["pools"][0]["workers"]) == 1)
    assert restarts() == 1
