# SPDX-License-Identifier: MIT
"""Real processes, real signals: who dies, who stays, and what clients see."""
import contextlib
import json
import os
import re
import resource
import select
import signal
import socket
import subprocess
import threading
import time

import pytest

from client import Closed
from conftest import SAMPLER, Server, children_of, is_alive, wait_for
from supervised import EARLY


def test_three_kinds_of_process(start):
    server = start("--workers", "2")
    names = []
    for pid in children_of(server.pid):
        with open(f"/proc/{pid}/comm", encoding="ascii") as file:
            names.append(file.read().strip())
    assert sorted(names) == ["dispatcher[0]", "items[0]", "sampler[0]", "sampler[1]"]


def descriptors(pid):
    folder = f"/proc/{pid}/fd"
    return [os.readlink(os.path.join(folder, name)) for name in os.listdir(folder)]


def test_a_worker_holds_no_client_and_no_other_worker(start):
    server = start("--workers", "3")
    clients = [server.client() for _ in range(5)]
    for client in clients:
        assert client.get("/hello").status == 200
    os.kill(server.workers()[1], signal.SIGKILL)
    wait_for(lambda: server.get("/status") and
             server.status()["pools"][0]["workers"][1]["generation"] == 2)
    with open("/proc/net/tcp", encoding="ascii") as file:
        tcp = {row.split()[9] for row in file.readlines()[1:]}
    for pid in server.workers():
        links = descriptors(pid)
        inodes = {re.sub(r"\D", "", link) for link in links if link.startswith("socket:")}
        assert not inodes & tcp, "a worker holds a TCP socket"
        assert sum("memfd:crew-link" in link for link in links) <= 1
        assert sum("eventfd" in link for link in links) <= 2
        assert len(links) <= 12, links
    parent_inodes = {re.sub(r"\D", "", link) for link in descriptors(server.pid)
                     if link.startswith("socket:")}
    assert len(parent_inodes & tcp) == 1, "the parent holds the listener and no client"
    for client in clients:
        client.socket.close()


def test_a_killed_worker_is_back_at_once(start):
    server = start("--workers", "2")
    times = []
    for _ in range(20):
        victim = server.workers()[0]
        began = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        wait_for(lambda: any(w["pid"] != victim and w["state"] == "ready" and w["index"] == 0
                             for w in server.status()["pools"][0]["workers"]))
        times.append(time.monotonic() - began)
    print(f"back after {max(times) * 1000:.0f} ms at most")
    assert sorted(times)[len(times) // 2] < 0.1
    assert server.status()["pools"][0]["restarts"] == 20
    assert "SIGKILL" in server.log()


def test_a_killed_dispatcher_is_back_on_the_same_listener(start):
    server = start("--workers", "2")
    workers = server.workers()
    generation = 1
    for _ in range(5):
        os.kill(server.dispatcher(), signal.SIGKILL)
        with server.client() as client:  # connecting is never refused
            assert client.get("/hello").status == 200
        generation += 1
        assert server.status()["dispatchers"][0]["generation"] == generation
        assert server.workers() == workers, "workers outlive their dispatcher"
        for _ in range(10):
            assert server.get("/whoami").status == 200


def test_a_dispatcher_that_reads_late_is_told_all(start):
    """More than its channel holds, some two hundred orders: each death of a worker is two."""
    server = start("--workers", "30")
    dispatcher, items = server.dispatcher(), server.workers(1)
    os.kill(dispatcher, signal.SIGSTOP)
    try:
        for _ in range(6):
            before = set(children_of(server.pid)) - {dispatcher, *items}
            for pid in before:
                os.kill(pid, signal.SIGKILL)
            wait_for(lambda before=before: (
                lambda now: len(now) == 32 and now.isdisjoint(before))(
                    set(children_of(server.pid))), what="new workers")
            server.known.update(children_of(server.pid))
    finally:
        os.kill(dispatcher, signal.SIGCONT)
    wait_for(lambda: [worker["generation"] for worker in server.status()["pools"][0]["workers"]] ==
             [7] * 30, what="all of them")
    assert server.dispatcher() == dispatcher
    clients = [server.client() for _ in range(30)]
    for client in clients:
        client.send(b"GET /sleep/200 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert [client.answer().status for client in clients] == [200] * 30
    assert all(worker["served"] for worker in server.status()["pools"][0]["workers"])
    for client in clients:
        client.socket.close()


def test_the_dispatcher_dies_under_load(start):
    server = start("--workers", "2")
    stop = threading.Event()
    wrong, right = [], [0] * 4

    def load(number):
        while not stop.is_set():
            try:
                with server.client(timeout=5) as client:
                    for count in range(20):
                        body = f"{number} {count} {time.monotonic_ns()}".encode()
                        answer = client.request("POST", "/echo/1", body)
                        if answer.status == 200 and answer.body == body:
                            right[number] += 1
                        else:
                            wrong.append((answer.status, body, answer.body))
            except ConnectionRefusedError:
                wrong.append("refused")
            except (Closed, OSError, AssertionError):  # its connections may drop
                pass

    threads = [threading.Thread(target=load, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        time.sleep(0.2)
        dispatcher = [pid for pid in children_of(server.pid)
                      if open(f"/proc/{pid}/comm", encoding="ascii").read().startswith("disp")]
        os.kill(dispatcher[0], signal.SIGKILL)
    time.sleep(0.3)
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong
    assert min(right) > 100
    assert server.get("/hello").status == 200


def test_no_child_outlives_its_parent(start):
    server = start("--workers", "3")
    with server.client() as client:
        client.send(b"GET /sleep/5000 HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.1)
        family = children_of(server.pid)
        assert len(family) == 5
        server.process.kill()
        server.process.wait()
        wait_for(lambda: not any(is_alive(pid) for pid in family), 2, "the end of all children")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_stop_finishes_what_is_pending(start, how):
    server = start("--workers", "2")
    clients = [server.client() for _ in range(4)]
    idle = server.client()
    assert idle.get("/hello").status == 200
    for client in clients:
        client.send(b"GET /sleep/300 HTTP/1.1\r\nHost: x\r\n\r\n")
    time.sleep(0.1)
    server.process.send_signal(how)
    assert idle.is_closed()
    for client in clients:
        answer = client.answer()
        assert (answer.status, answer.header("Connection")) == (200, "close")
        assert client.is_closed()
    with pytest.raises(OSError):
        socket.create_connection(server.address, 1)
    assert server.process.wait(5) == 0
    assert server.stop() == 0


def test_a_stop_answers_503_to_what_takes_too_long(start):
    server = start("--workers", "1", SAMPLER_SHUTDOWN_MS="300")
    with server.client() as busy, server.client() as waiting:
        busy.send(b"GET /sleep/60000 HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.1)
        waiting.send(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.1)
        server.process.terminate()
        began = time.monotonic()
        assert busy.answer().status == 503
        assert waiting.answer().status == 503
        assert 0.1 < time.monotonic() - began < 2
    assert server.process.wait(10) == 0


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_a_stop_replaces_workers_that_somebody_waits_for(start, kind):
    server = start("--workers", "1", "--worker-class", kind)
    clients = [server.client() for _ in range(7)]
    clients[0].send(b"GET /sleep/1500 HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_for(lambda: server.status()["pools"][0]["in_hand"] == 1)
    clients[1].send(b"GET /crash/segv HTTP/1.1\r\nHost: x\r\n\r\n"
                    b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_for(lambda: server.status()["dispatchers"][0]["pending"] >= 2)
    for client in clients[2:]:
        client.send(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_for(lambda: server.status()["dispatchers"][0]["pending"] >= 7)
    server.process.terminate()
    assert clients[0].answer().status == 200
    assert clients[1].answer().status == 502
    assert [client.answer().status for client in clients[1:]] == [200] * 6
    for client in clients:
        client.socket.close()
    assert server.process.wait(10) == 0


def test_a_stop_ends_when_its_time_is_up_whatever_workers_do(start):
    server = start("--workers", "1", SAMPLER_SHUTDOWN_MS="1000")
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.client()) for _ in range(20)]
        for client in clients[:19]:
            client.send(b"GET /crash/segv HTTP/1.1\r\nHost: x\r\n\r\n")
        clients[19].send(b"GET /defer/60000 HTTP/1.1\r\nHost: x\r\n\r\n")
        server.process.terminate()
        assert {client.answer().status for client in clients} <= {502, 503}
    assert server.process.wait(20) == 0


def test_a_stop_ends_streams_and_answers_what_was_asked_behind_them(start):
    server = start("--workers", "1")
    with server.client() as listener, server.client() as waiting:
        assert listener.begin("/ticks/20").status == 200
        listener.send(b"GET /defer/500 HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        waiting.send(b"GET /defer/700 HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: server.status()["pools"][0]["in_hand"] == 5)
        server.process.terminate()
        while listener.event() is not None:
            pass
        assert [listener.answer().status for _ in range(2)] == [200, 200]
        assert listener.answer().header("Connection") == "close"
        assert listener.is_closed()
        assert waiting.answer().status == 200
    assert server.process.wait(5) == 0


def test_a_stop_answers_what_was_read_and_had_to_wait(start):
    server = start("--workers", "1")
    with server.client() as client, server.client() as other:
        assert len(other.get("/bytes/90000").body) == 90000
        client.send(b"GET /defer/500 HTTP/1.1\r\nHost: x\r\n\r\n" +
                    b"GET /bytes/90000 HTTP/1.1\r\nHost: x\r\n\r\n" * 4 +
                    b"GET /static/hello.txt HTTP/1.1\r\nHost: x\r\n\r\n" * 4)
        wait_for(lambda: server.status()["pools"][0]["served"] == 2)
        server.process.terminate()
        answers = [client.answer() for _ in range(9)]
        assert [answer.status for answer in answers] == [200] * 9
        assert [answer.header("Connection") for answer in answers] == [None] * 8 + ["close"]
        assert client.is_closed()
    assert server.process.wait(5) == 0


def test_whole_answers_are_sent_though_a_worker_dies_behind_them(start, tmp_path):
    """As many as the kernel does not take: they lie with the dispatcher."""
    server = start("--workers", "1", "--listen", f"unix:{tmp_path}/s")
    with server.client() as client, server.client() as other:
        client.send(b"GET /bytes/260000 HTTP/1.1\r\nHost: x\r\n\r\n" +
                    b"GET /plain HTTP/1.1\r\nHost: x\r\n\r\n" * 60 +
                    b"GET /events?channel=c HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: other.get("/subscribers").body == b"1\n")
        while server.status()["pools"][0]["in_hand"] > 1:
            client.buffer += client.socket.recv(4096)
        for pid in server.workers():
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: server.status()["pools"][0]["restarts"] == 1)
        assert len(client.answer().body) == 260_000
        for _ in range(60):
            assert client.answer().status == 200
        assert client.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 200")
        while client.more():
            pass
        assert b"0\r\n\r\n" not in client.buffer, "and it is seen to be cut short"
        assert other.get("/hello").status == 200


def test_a_second_signal_stops_at_once(start):
    server = start("--workers", "1")
    with server.client() as client:
        client.send(b"GET /sleep/60000 HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.1)
        server.process.send_signal(signal.SIGINT)
        wait_for(lambda: ": stopping" in server.log())
        server.process.send_signal(signal.SIGTERM)  # so soon it is the same wish
        wait_for(lambda: "again: stopping already" in server.log())
        time.sleep(0.6)
        assert server.process.poll() is None
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(1) == 0


@pytest.mark.parametrize("how,says", [
    ("segv", "SIGSEGV"), ("abort", "SIGABRT"), ("assert", "assertion failed"),
    ("free", "SIGABRT"), ("exit", "exit code 7"), ("stack", "SIGSEGV"), ("leak", "SIGABRT")])
def test_a_crash_costs_one_request(start, how, says):
    server = start("--workers", "2")
    with server.client() as client, server.client() as other:
        answer = client.get(f"/crash/{how}")
        assert answer.status == 502 and json.loads(answer.body)["error"]
        assert client.get("/hello").status == 200, "the connection is kept"
        assert other.get("/hello").status == 200
    wait_for(lambda: says in server.log(), what=f"{says} in the log")
    named = rf"sampler\[\d\] \(pid \d+\) died at request \d+ \(GET /crash/{how}\): 502"
    wait_for(lambda: re.search(named, server.log()), what="the request in the log")


@pytest.mark.parametrize("how", ["stop", "deadlock"])
def test_a_stuck_worker_is_found_and_replaced(start, how):
    server = start("--workers", "2", SAMPLER_REQUEST_TIMEOUT_MS="300", SAMPLER_HEARTBEAT_MS="1500")
    before = server.workers()
    with server.client() as client:
        began = time.monotonic()
        assert client.get(f"/crash/{how}").status == 504
        assert 0.25 < time.monotonic() - began < 1
        for _ in range(20):
            assert client.get("/hello").status == 200
    wait_for(lambda: len(set(server.workers()) - set(before)) == 1, 4, "the replacement")
    assert "stuck" in server.log()


def test_spinning_without_a_heartbeat_and_with_one(start):
    server = start("--workers", "2", SAMPLER_HEARTBEAT_MS="500")
    before = server.workers()
    assert server.get("/alive/1200").status == 200
    assert server.workers() == before
    with server.client() as client:
        assert client.get("/spin/3000").status == 502
    # Its place shows the dead one until another is born.
    wait_for(lambda: set(server.workers()) != set(before))
    assert len(set(server.workers()) - set(before)) == 1


def test_who_was_connected_before_a_stop_is_answered(start):
    server = start("--workers", "1")
    dispatcher = server.dispatcher()
    os.kill(dispatcher, signal.SIGSTOP)
    sockets = [socket.create_connection(server.address, 20) for _ in range(600)]
    for sock in sockets:
        sock.sendall(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
    server.process.send_signal(signal.SIGTERM)
    os.kill(dispatcher, signal.SIGCONT)
    for sock in sockets:
        assert sock.recv(65536).startswith(b"HTTP/1.1 200 "), "none is reset"
        sock.close()
    assert server.process.wait(15) == 0


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_a_limit_of_file_sizes_costs_one_request(tmp_path, kind):
    ran = tmp_path / "ran"
    with open(ran, "wb") as file:
        file.truncate(4194304)
    server = Server(str(tmp_path), ["--workers", "1", "--worker-class", kind],
                    {"SAMPLER_RAN": str(ran)}, before=["prlimit", "--fsize=4194304"])
    try:
        before = server.dispatcher(), server.workers(), set(children_of(server.pid))
        with server.client() as client:
            client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            with contextlib.suppress(OSError):
                for _ in range(96):
                    client.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            assert client.answer().status == 507
        for _ in range(3):
            with server.client() as client:
                answer = client.get("/hello", headers=[("X-Request-Id", "written by the worker")])
                assert answer.status == 200
        assert ran.stat().st_size == 4194304
        assert (server.dispatcher(), server.workers(), set(children_of(server.pid))) == before
    finally:
        server.stop()


def test_garbage_in_the_link_harms_nobody_else(start):
    server = start("--workers", "2")
    stop = threading.Event()
    wrong = []

    def load():
        with server.client() as client:
            number = 0
            while not stop.is_set():
                body = str(number).encode() * 50
                answer = client.request("POST", "/echo", body)
                number += 1
                # 502 only as a victim of a worker that had not begun with it: its own
                # word for that is worth nothing.
                if answer.status not in (200, 502) or answer.status == 200 and answer.body != body:
                    wrong.append((answer.status, answer.body))

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        assert server.get("/crash/garbage").status == 502
        time.sleep(0.1)
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong
    assert server.log().count("condemned, protocol") == 5
    assert server.log().count("cause: protocol") == 5
    assert server.status()["pools"][0]["restarts"] == 5


def test_what_waits_behind_a_slow_request_goes_to_another_worker(start):
    server = start("--workers", "2")
    with server.client() as slow, server.client() as fast:
        for _ in range(200):
            assert fast.get("/hello").status == 200  # so that requests are packed
        slow.send(b"GET /sleep/1500 HTTP/1.1\r\nHost: x\r\n\r\n")
        began = time.monotonic()
        for _ in range(200):
            assert fast.get("/hello").status == 200
        assert time.monotonic() - began < 1
        assert slow.answer().status == 200


@pytest.mark.parametrize("dispatchers", ["1", "2"])
def test_who_is_stopped_keeps_no_request_from_idle_workers(start, dispatchers):
    server = start("--workers", "2", "--dispatchers", dispatchers)
    assert server.get("/hello").status == 200
    workers = wait_for(lambda: [one["pid"] for one in server.status()["pools"][0]["workers"]
                                if one["served"]])
    os.kill(workers[0], signal.SIGSTOP)
    began = time.monotonic()
    assert [server.get("/hello").status for _ in range(20)] == [200] * 20
    assert time.monotonic() - began < 5
    os.kill(workers[0], signal.SIGCONT)


@pytest.mark.parametrize("dispatchers", ["1", "2"])
def test_nor_does_who_is_at_a_request_of_a_dispatcher_that_died(start, dispatchers):
    server = start("--workers", "2", "--dispatchers", dispatchers)
    with server.client() as client:
        client.send(b"GET /sleep/1500 HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: sum(worker["state"] == "busy" for worker in
                             server.status()["pools"][0]["workers"]) == 1)
        for one in server.status()["dispatchers"]:
            os.kill(one["pid"], signal.SIGKILL)
    began = time.monotonic()
    assert [server.get("/hello").status for _ in range(20)] == [200] * 20
    assert time.monotonic() - began < 1.2


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_who_waits_for_a_client_learns_that_its_dispatcher_died(start, kind):
    server = start("--workers", "1", "--worker-class", kind)
    with server.client() as client:
        client.send(b"GET /drip/100000 HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: server.status()["pools"][0]["workers"][0]["state"] == "busy")
        client.socket.recv(1)
        os.kill(server.dispatcher(), signal.SIGKILL)
        began = time.monotonic()
        assert server.get("/hello").status == 200
        assert time.monotonic() - began < 2


def test_quick_work_wakes_no_more_workers_than_there_are_processors(tmp_path):
    """Who cannot run for a millisecond is passed over all the same, and on a busy machine that
    may be anybody at any time: so one burst among many must have gone to one worker, mostly.
    Without the rule none has more than a third of any under the sanitizers, where a request
    takes long enough for it. Else the worker beside its dispatcher has all of them anyway, and
    the rule is pool_test.c's alone."""
    processor = str(min(os.sched_getaffinity(0)))
    server = Server(str(tmp_path), ["--workers", "8"], before=["taskset", "-c", processor])

    def served():
        return [worker["served"] for worker in server.status()["pools"][0]["workers"]]
    try:
        clients = [server.client() for _ in range(6)]
        for _ in range(200):
            assert clients[0].get("/hello").status == 200  # so that it is known to be quick
        before = served()
        most = 0
        for _ in range(100):
            for client in clients:
                client.send(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
            for client in clients:
                for _ in range(100):
                    assert client.answer().status == 200
            now = served()
            assert sum(now) - sum(before) == 6 * 100
            most = max(most, *(a - b for a, b in zip(now, before)))
            before = now
            if most > 300:
                break
        assert most > 300, (most, before)
    finally:
        server.stop()


def test_a_queue_goes_on_when_the_client_of_what_was_given_out_leaves(start):
    """The worker, which has not looked at it yet, says nothing of it."""
    server = start("--workers", "1")
    worker = server.workers()[0]
    request = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"

    def has(queued, in_hand):
        pool = server.status()["pools"][0]
        return (pool["queue"], pool["in_hand"]) == (queued, in_hand)
    with server.client() as first, server.client() as second, server.client() as third:
        os.kill(worker, signal.SIGSTOP)
        first.send(request)
        wait_for(lambda: has(0, 1))
        second.send(request)
        wait_for(lambda: has(1, 1))
        first.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        first.socket.close()
        wait_for(lambda: has(0, 1))
        third.send(request)
        wait_for(lambda: has(1, 1))
        os.kill(worker, signal.SIGCONT)
        assert [client.answer().status for client in (second, third)] == [200, 200]


def test_a_full_queue(start):
    server = start("--workers", "1")
    clients = [server.client(timeout=20) for _ in range(1100)]
    clients[0].send(b"GET /sleep/1500 HTTP/1.1\r\nHost: x\r\n\r\n")
    time.sleep(0.1)
    for client in clients[1:]:
        client.send(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
    answers = [client.answer() for client in clients]
    refused = [answer for answer in answers if answer.status == 503]
    assert 90 <= len(refused) <= 100
    assert all(answer.header("Retry-After") for answer in refused)
    assert all(answer.status in (200, 503) for answer in answers)
    for client in clients:
        client.socket.close()


def test_a_server_whose_workers_never_come_up_ends_with_3(tmp_path):
    done = subprocess.run([SAMPLER, "--listen", "127.0.0.1:0"],
                          env={**os.environ, "SAMPLER_RAN": "/nowhere/file"}, timeout=30,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "SAMPLER_RAN: cannot open /nowhere/file" in done.stderr
    assert "giving up" in done.stderr


def test_the_last_deaths_are_listed(start):
    server = start("--workers", "1", "--dispatchers", "2")

    def generations():
        return [death["generation"] for death in server.status()["deaths"]]

    def ready():
        worker = server.status()["pools"][0]["workers"][0]
        return worker["state"] == "ready" and worker["pid"]

    assert generations() == []
    for count in range(1, 12):
        pid = wait_for(ready)
        os.kill(pid, signal.SIGSEGV)
        wait_for(lambda: generations()[:1] == [count])
    wait_for(lambda: generations() == list(range(11, 1, -1)))
    last = server.status()["deaths"][0]
    assert abs(last.pop("at") - time.time()) < 60
    assert last == {"pool": "sampler", "index": 0, "generation": 11, "pid": pid,
                    "cause": "signal", "signal": signal.SIGSEGV, "name": "SIGSEGV"}
    # Who was told to stop is no news; and a new dispatcher hears of those before it.
    wait_for(ready)
    os.kill(server.pid, signal.SIGHUP)
    wait_for(lambda: [worker["generation"] for worker in
                      server.status()["pools"][0]["workers"]] == [13])
    for dispatcher in server.status()["dispatchers"]:
        os.kill(dispatcher["pid"], signal.SIGKILL)

    def are_new():
        try:
            return [one["generation"] for one in server.status()["dispatchers"]] == [2, 2]
        except OSError:
            return False

    wait_for(are_new)
    wait_for(lambda: generations() == list(range(11, 1, -1)))


def test_a_daemon_logs_why_it_ends(tmp_path):
    """It was up: who started it hears no more."""
    log = tmp_path / "log"
    done = subprocess.run([SAMPLER, "--listen", "127.0.0.1:0", "--daemon", "--log-file", log],
                          env={**os.environ, "SAMPLER_RAN": "/nowhere/file"}, timeout=30,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    wait_for(lambda: "no worker, or no dispatcher, ever came up" in log.read_text(), 30)


def test_an_idle_server_sleeps(start):
    server = start("--workers", "4")
    clients = [server.client() for _ in range(100)]
    assert [client.get("/hello").status for client in clients] == [200] * 100
    family = [server.pid, *children_of(server.pid)]

    def used():
        total = 0
        for pid in family:
            with open(f"/proc/{pid}/stat", encoding="ascii") as file:
                fields = file.read().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        return total / os.sysconf("SC_CLK_TCK")

    before = used()
    time.sleep(3)
    assert used() - before < 0.1
    for client in clients:
        client.socket.close()


def test_a_worker_without_a_descriptor_for_its_link_is_replaced(start):
    server = start("--workers", "1")
    worker, dispatcher = server.workers()[0], server.dispatcher()
    limit = resource.prlimit(worker, resource.RLIMIT_NOFILE)
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (3, limit[1]))
    os.kill(dispatcher, signal.SIGKILL)
    wait_for(lambda: "no descriptor is left for it" in server.log())
    wait_for(lambda: server.workers() != [worker])
    assert server.get("/hello").status == 200


def test_files_take_no_descriptor_that_a_link_needs(tmp_path):
    """Each that waits for its turn behind a slow answer is open already."""
    server = Server(str(tmp_path), ["--workers", "2"],
                    before=["sh", "-c", "ulimit -n 256; exec \"$@\"", "sh"])
    dispatcher, workers = server.dispatcher(), server.workers()
    clients = [server.client() for _ in range(80)]
    for client in clients:
        client.send(b"GET /defer/1500 HTTP/1.1\r\nHost: x\r\n\r\n" +
                    b"GET /static/hello.txt HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
    folder = f"/proc/{dispatcher}/fd"
    wait_for(lambda: len(os.listdir(folder)) > 200)
    free = [number for number in range(256) if not os.path.exists(f"{folder}/{number}")]
    assert len(free) >= 16
    os.kill(workers[0], signal.SIGKILL)
    statuses = [client.answer().status for client in clients for _ in range(3)]
    assert {200, 503} <= set(statuses) <= {200, 502, 503}
    assert statuses.count(503) > 20
    assert server.dispatcher() == dispatcher
    assert all(server.workers()) and server.get("/hello").status == 200
    server.stop()


def test_clients_take_no_descriptor_that_a_link_needs(tmp_path):
    """Those of workers that have gone are the lowest ones, and free for a while."""
    count = 22
    server = Server(str(tmp_path), ["--workers", str(count)],
                    before=["sh", "-c", "ulimit -n 200; exec \"$@\"", "sh"])
    asks = server.client()

    def ready():
        return len([worker for worker in json.loads(asks.get("/status").body)["pools"][0]["workers"]
                    if worker["state"] in ("ready", "busy")])

    def scale(how, wanted):
        while (now := ready()) != wanted:
            os.kill(server.pid, how)
            wait_for(lambda now=now: ready() != now)
    clients = [server.client() for _ in range(150)]
    scale(signal.SIGTTOU, 2)
    clients += [server.client() for _ in range(150)]
    time.sleep(0.3)  # who is refused rests for a tenth of a second
    assert asks.get("/hello").status == 200
    scale(signal.SIGTTIN, count)
    assert "cannot open its link" not in server.log()
    for client in clients:
        client.socket.close()
    asks.socket.close()
    server.stop()


@pytest.mark.parametrize("limit,wanted,says", [
    (100, "", "(limit of open files 100: raise LimitNOFILE= or ulimit -Hn)"),
    (100, "1000", "(limit of open files 100: raise LimitNOFILE= or ulimit -Hn)"),
    (1000, "40", "no place for more than 40 connections (connections_max)")])
def test_each_client_too_many_is_told_so(tmp_path, limit, wanted, says):
    server = Server(str(tmp_path), ["--workers", "1"],
                    environment={"SAMPLER_CONNECTIONS_MAX": wanted or "0"},
                    before=["sh", "-c", f"ulimit -n {limit}; exec \"$@\"", "sh"])
    clients = [server.client() for _ in range(90)]
    poll = select.poll()
    for client in clients:
        poll.register(client.socket, select.POLLIN)
    try:
        wait_for(lambda: len(poll.poll(0)) >= 3)
        refused = {number for number, _ in poll.poll(0)}
        for client in clients:
            if client.socket.fileno() in refused:
                while client.more():
                    pass
                assert client.buffer.startswith(b"HTTP/1.1 503 ")
                assert client.buffer.endswith(b'{"error":"too many connections"}')
            client.socket.close()
        assert says in server.log()
    finally:
        assert server.stop() == 0


@pytest.mark.skipif(bool(os.environ.get("CREW_CFLAGS")), reason="a sanitizer is to be loaded first")
@pytest.mark.parametrize("early", [signal.SIGHUP, signal.SIGTTIN, signal.SIGUSR1, signal.SIGUSR2])
def test_a_signal_while_it_starts_does_not_end_it(start, early):
    server = start("--workers", "2", EARLY_SIGNAL=str(int(early)), **EARLY)
    wait_for(lambda: len(server.workers()) == (3 if early == signal.SIGTTIN else 2))
    assert server.get("/hello").status == 200
