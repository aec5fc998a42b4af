# SPDX-License-Identifier: MIT
"""The benchmark itself: that it asks for what it says, and does not take silence for speed."""
import os
import socket
import sys
import threading

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


def test_of_what_is_pipelined_and_of_nothing_there_are_no_percentiles():
    for row in (loads.wrk_row(figures(1600, 1600 + 64 * 16), 64, 16),
                loads.wrk_row(figures(0, 64), 64), loads.percentiles([])):
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
