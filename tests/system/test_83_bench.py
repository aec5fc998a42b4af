# SPDX-License-Identifier: MIT
"""The benchmark itself: that it asks for what it says, and does not take silence for speed."""
import collections
import os
import socket
import sys
import threading
import time

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench"))

import clients
import loads
import report
import servers

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SILENT = """
import socket, sys
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listener:
    kept = []
    while True:
        kept.append(listener.accept())
"""


@pytest.fixture
def listen():
    """A function that serves each connection by one of its own, in a thread; returns the port."""
    opened = []

    def accept(listener, serve):
        number = 0
        try:
            while True:
                sock, _ = listener.accept()
                opened.append(sock)
                threading.Thread(target=serve, args=(sock, number), daemon=True).start()
                number += 1
        except OSError:
            pass

    def begin(serve):
        listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        opened.append(listener)
        threading.Thread(target=accept, args=(listener, serve), daemon=True).start()
        return listener.getsockname()[1]

    yield begin
    for sock in opened:
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        sock.close()


def requests_of(sock):
    """The path of each request, until the client closes."""
    data = b""
    try:
        while part := sock.recv(4096):
            data += part
            while b"\r\n\r\n" in data:
                head, _, data = data.partition(b"\r\n\r\n")
                yield head.split(b" ")[1].decode()
    except OSError:
        pass


def answer_all(sock, _number=0):
    for _ in requests_of(sock):
        sock.sendall(ANSWER)


def test_who_is_never_answered_is_counted(listen, monkeypatch):
    assert len(clients.ClosedLoop(listen(answer_all), "/", 8).run().answered) == 8
    monkeypatch.setattr(clients, "SERVED_S", 1)
    port = listen(lambda sock, number: answer_all(sock) if number < 2 else None)
    assert clients.ClosedLoop(port, "/", 8).run().answered == {0, 1}


def test_clients_come_again_when_a_server_closes(listen):
    def answer_one(sock, _number):
        for _ in requests_of(sock):
            sock.sendall(ANSWER)
            sock.close()
            return

    assert len(clients.ClosedLoop(listen(answer_one), "/", 8, close=True).run().answered) == 8
    assert len(clients.ClosedLoop(listen(answer_one), "/", 8).run().answered) == 8


def test_a_row_of_unserved_clients_says_so():
    row = {"rps": 40000.0, "p99_us": 80.0, "cpu_us": 20.0, "failed": 62, "clients": 64, "served": 2}
    text = report.table("c64", {"one": [row]}, "other")
    assert "only 2 of 64 clients were served" in text and "62 answers were no success" in text
    assert "clients" not in report.table("c64", {"one": [{**row, "served": 64}]}, "other")


def test_the_mix_is_what_is_said():
    stream = clients.arrivals(20)
    assert stream == clients.arrivals(20) and stream != clients.arrivals(20, seed=2)
    assert stream == sorted(stream) and stream[-1][0] < 20
    assert abs(len(stream) / 20 / clients.MIX_RATE - 1) < 0.05
    for path, share in clients.MIX.items():
        assert abs(sum(one[1] == path for one in stream) / len(stream) / share - 1) < 0.2


def test_no_request_waits_for_the_answer_of_another(listen):
    stream = [(number / 10000, path) for number, path in enumerate(list(clients.MIX) * 30)]
    all_are_here = threading.Event()
    here = []

    def answer_when_all_asked(sock, _number):
        for path in requests_of(sock):
            here.append(path)
            if len(here) == len(stream):
                all_are_here.set()
            all_are_here.wait(30)
            sock.sendall(ANSWER)

    assert len(stream) > clients.CONNECTIONS
    loop = clients.OpenLoop(listen(answer_when_all_asked)).run(stream)
    assert loop.failed == 0 and {path: len(took) for path, took in loop.took.items()} == \
        {path: 30 for path in clients.MIX}


def test_whatever_is_no_answer_has_failed(listen, monkeypatch):
    monkeypatch.setattr(clients, "LATE_S", 1)

    def answer_some(sock, _number):
        for path in requests_of(sock):
            if path == "/busy":
                sock.sendall(ANSWER.replace(b"200 OK", b"503 No"))
            elif path == "/close":
                sock.shutdown(socket.SHUT_RDWR)
            elif path != "/silence":
                sock.sendall(ANSWER)

    stream = [(number / 100, path)
              for number, path in enumerate(["/", "/busy", "/close", "/silence"] * 2)]
    loop = clients.OpenLoop(listen(answer_some)).run(stream)
    assert loop.failed == 6 and len(loop.took["/"]) == 2 and len(loop.took) == 1


def test_the_mixed_load(start, monkeypatch):
    monkeypatch.setattr(loads, "PAIRS", 2)
    server = start("--workers", "4")
    row = loads.mixed(None, server.address[1], lambda: [server.pid], None, 1)
    assert row["failed"] == 0 and row["cpu_us"] > 0
    assert row["trivial"] + row["of_1_ms"] + row["of_50_ms"] == row["rps"] * 2
    assert row["p99_over_alone"] == row["p99_us"] / row["alone_p99_us"]
    assert row["p50_us"] <= row["p99_us"] <= row["p999_us"]


class Recorder:
    """Of what an OpenLoop is asked, each of which takes what `took` says; None: for ever."""

    def __init__(self, took):
        self.took_of, self.streams = took, []

    def __call__(self, _port):
        self.took, self.failed = collections.defaultdict(list), 0
        return self

    def run(self, stream):
        self.streams.append(stream)
        is_mixed = any(path != clients.TRIVIAL for _, path in stream)
        for number, (_, path) in enumerate(stream):
            seconds = self.took_of(is_mixed, number)
            if seconds is None:
                self.failed += 1
            else:
                self.took[path].append(seconds)
        return self


def mixed(monkeypatch, took):
    """The row, and what was asked in each pair."""
    recorder = Recorder(took)
    monkeypatch.setattr(clients, "OpenLoop", recorder)
    row = loads.mixed(None, 0, lambda: [os.getpid()], None, 4)
    streams = recorder.streams[1:]  # the first is to warm up
    assert len(streams) == 2 * loads.PAIRS
    return row, list(zip(streams[::2], streams[1::2]))


def test_alone_means_the_trivial_ones_of_the_same_stream(monkeypatch):
    monkeypatch.setattr(loads, "PAIRS", 64)
    row, pairs = mixed(monkeypatch, lambda is_mixed, number: 0.002 if is_mixed else 0.001)
    for pair in pairs:
        alone, beside = sorted(pair, key=len)
        assert alone == [one for one in beside if one[1] == clients.TRIVIAL]
        assert {path for _, path in beside} == set(clients.MIX)
    assert len({max(pair, key=len)[0] for pair in pairs}) == 64
    assert {len(first) < len(second) for first, second in pairs} == {True, False}
    assert row["failed"] == 0 and row["p99_over_alone"] == 2
    asked = [one for pair in pairs for one in max(pair, key=len)]
    assert [row["trivial"], row["of_1_ms"], row["of_50_ms"]] == \
        [sum(path == one for _, one in asked) for path in clients.MIX]


def test_what_is_not_answered_takes_for_ever(monkeypatch):
    took = [0.001] * 980
    assert loads.percentiles(took, 980)["p999_us"] == 1000
    assert loads.percentiles(took, 1000) == {"p50_us": 1000, "p99_us": None, "p999_us": None}
    row, _ = mixed(monkeypatch, lambda is_mixed, number:
                   None if is_mixed and number % 50 == 0 else 0.001)
    assert row["failed"] > 0 and row["p50_us"] and row["alone_p99_us"]
    assert row["p99_us"] is None and "p99_over_alone" not in row


def test_the_mixed_table_has_the_spread(monkeypatch):
    row, _ = mixed(monkeypatch, lambda is_mixed, number: 0.001)
    rows = [{**row, "p99_over_alone": ratio} for ratio in (1.5, 1.1, 12.0)]
    text = report.table("mixed", {"crew, 4 workers": rows}, "other")
    assert "1.50 (1.10-12.0)" in text and "alone p99" not in text
    assert max(map(len, text.split("\n"))) <= 100


def figures(requests, sent, bad=0, broken=0):
    return f"figures {requests} 2000000 4096 310.5 700 2500.25 {sent} {bad} {broken}\n"


def test_what_wrk_says():
    row = loads.wrk_row("Running 2s test\n" + figures(1000, 1064), 64)
    assert row["rps"] == 500 and row["failed"] == 0
    assert (row["p50_us"], row["p99_us"], row["p999_us"]) == (310.5, 700, 2500.25)
    # What was sent, and neither answered nor is under way, has failed; once, if wrk knows of it.
    assert loads.wrk_row(figures(1000, 1070, bad=2), 64)["failed"] == 8
    assert loads.wrk_row(figures(1000, 1070, broken=6), 64)["failed"] == 6
    assert loads.wrk_row(figures(1000, 1030, broken=3), 64)["failed"] == 3


def test_wrk_leaves_no_connection_out(monkeypatch):
    monkeypatch.setattr(loads, "wrk_threads", 6)
    assert [loads.threads_for(count) for count in (1, 4, 11, 12, 16, 64)] == [1, 4, 1, 6, 4, 4]


@pytest.mark.parametrize("says, failure", [("exec sleep 1000", "wrk: has not ended after 0.1 s"),
                                           ("echo broken >&2; exit 1", "wrk: broken")])
def test_a_wrk_of_no_use_is_a_failure(tmp_path, monkeypatch, says, failure):
    (tmp_path / "wrk").write_text(f"#!/bin/sh\n{says}\n")
    (tmp_path / "wrk").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(loads, "LATE_S", 0.1)
    with pytest.raises(RuntimeError, match=failure):
        loads.wrk(tmp_path, 1, "/", 1, 0)


def test_who_is_not_served_has_not_failed_too(listen, monkeypatch):
    monkeypatch.setattr(clients, "SERVED_S", 0.5)
    monkeypatch.setattr(loads, "wrk", lambda *_, **__: {"requests": 9, "failed": 1})
    port = listen(lambda sock, number: answer_all(sock) if number < 2 else None)
    row = loads.closed_loop(servers.Server("it", []), port, lambda: [os.getpid()], None, 8, 1)
    assert (row["clients"], row["served"], row["failed"]) == (8, 2, 1)


def test_what_went_wrong_in_the_quiet_half_is_told(monkeypatch):
    rows = iter([{"cpu_us": 2, "failed": 3, "served": 62, "stolen": 0.5},
                 {"cpu_us": 3, "failed": 1, "served": 64, "stolen": 0}])
    monkeypatch.setattr(loads, "closed_loop", lambda *_: next(rows))
    assert loads.beside_another(None, None, None, None, 1) == {
        "cpu_us": 3, "cpu_over_quiet": 1.5, "failed": 4, "served": 62, "stolen": 0.5}


def test_who_takes_a_processor_is_ended_whatever_fails(monkeypatch):
    def fail(pid, _processors):
        raise ProcessLookupError(pid)

    monkeypatch.setattr(loads, "closed_loop", lambda *_: {"cpu_us": 2})
    monkeypatch.setattr(os, "sched_setaffinity", fail)
    with pytest.raises(ProcessLookupError) as failure:  # who waits for it waits for ever
        loads.beside_another(None, None, None, None, 1)
    assert not os.path.exists(f"/proc/{failure.value}")


def test_of_what_is_pipelined_and_of_nothing_there_are_no_percentiles():
    for row in (loads.wrk_row(figures(1600, 1600 + 64 * 16), 64, 16),
                loads.wrk_row(figures(0, 64), 64), loads.percentiles([], 0)):
        assert row["p50_us"] is row["p99_us"] is row["p999_us"] is None
        assert row.get("failed", 0) == 0
    text = report.table("c64", {"one": [{"p50_us": 1.0}], "two": [{"p50_us": None}]}, "other")
    assert text.endswith("-")


def test_a_server_that_does_not_answer_is_named(monkeypatch):
    ended = servers.Server("ended", [[sys.executable, "-c", "print('of no use')"]])
    with pytest.raises(RuntimeError, match="ended has ended:\nof no use"):
        with ended.running():
            pass
    monkeypatch.setattr(servers, "PATIENCE_S", 0.5)
    silent = servers.Server("silent", [[sys.executable, "-c", SILENT, "{port}"]])
    with pytest.raises(RuntimeError, match="silent does not answer within 0.5 s"):
        with silent.running():
            pass


def test_a_start_begins_with_the_exec():
    """What is prepared before that, and each program but the last, is in no figure."""
    server = servers.Server(
        "it", [[sys.executable, "-c", "import time; time.sleep(1000)"],
               [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "{port}"]],
        build=[sys.executable, "-c", "import time; time.sleep(0.5)"])
    began = time.monotonic()
    row = loads.start(server, None, 1)
    assert 0 < row["start_ms"] <= (time.monotonic() - began - 0.7) * 1000


def test_subscribers_without_an_answer_are_not_waited_for(listen, monkeypatch):
    monkeypatch.setattr(servers, "PATIENCE_S", 0.5)
    port = listen(lambda sock, number: answer_all(sock) if number < 2 else None)
    with pytest.raises(RuntimeError, match="silent does not answer [345] of 5 subscribers"):
        loads.fan_out(servers.Server("silent", []), port, None, None, 5, 1)


def test_what_cannot_be_built_says_why():
    server = servers.Server("broken", [], build=[
        sys.executable, "-c", "import sys; sys.exit('hello.c:1: no such thing')"])
    with pytest.raises(RuntimeError, match="broken cannot be built:\nhello.c:1: no such thing"):
        with server.running():
            pass
