# SPDX-License-Identifier: MIT
"""Clients that are slow: each wait has its own clock, and its own end."""
import os
import resource
import signal
import socket
import threading
import time

import pytest

from conftest import wait_for


def test_a_head_has_a_deadline_from_its_first_byte(start):
    server = start(SAMPLER_HEAD_TIMEOUT_MS="500")
    with server.client() as client:
        began = time.monotonic()
        for byte in b"GET /hello HT":  # a byte now and then does not extend it
            try:
                client.send(bytes([byte]))
            except OSError:
                break
            time.sleep(0.1)
        answer = client.answer()
        assert answer.status == 408
        assert 0.4 < time.monotonic() - began < 3
        assert client.is_closed()


def test_a_body_may_not_stand_still(start):
    server = start(SAMPLER_BODY_TIMEOUT_MS="400")
    with server.client() as client:
        client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345")
        answer = client.answer()
        assert answer.status == 408
        assert client.is_closed()
    with server.client() as client:  # slow, but going on
        client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
        for byte in b"0123456789":
            client.send(bytes([byte]))
            time.sleep(0.1)
        assert client.answer().body == b"0123456789"


def test_who_waits_for_100_continue_behind_others_has_time(start):
    server = start("--workers", "1", SAMPLER_BODY_TIMEOUT_MS="300")
    with server.client() as client:
        client.send(b"GET /sleep/800 HTTP/1.1\r\nHost: x\r\n\r\n"
                    b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
                    b"Expect: 100-continue\r\n\r\n")
        assert client.answer().status == 200
        assert client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue"
        client.send(b"hello")
        assert client.answer().body == b"hello"
        client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
                    b"Expect: 100-continue\r\n\r\n")
        assert client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue"
        assert client.answer().status == 408, "and no more than others"


def test_an_idle_connection_is_closed(start):
    server = start(SAMPLER_IDLE_TIMEOUT_MS="400")
    with server.client() as client:
        for _ in range(5):
            assert client.get("/hello").status == 200
            time.sleep(0.2)
        began = time.monotonic()
        assert client.is_closed()
        assert time.monotonic() - began < 2
    with server.client() as client:  # and one that never said anything
        assert client.is_closed()


def test_an_idle_connection_is_closed_when_the_command_line_says(start):
    with start("--idle-timeout", "1").client(timeout=14) as client:  # without a word it is 15 s
        assert client.get("/hello").status == 200
        assert client.is_closed()


def test_who_sent_in_time_is_answered_though_we_are_late(start):
    """More clients than events are taken in at once, and a dispatcher that stands still."""
    server = start(SAMPLER_IDLE_TIMEOUT_MS="2500", SAMPLER_HEAD_TIMEOUT_MS="2500",
                   SAMPLER_BODY_TIMEOUT_MS="2500")
    request = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
    dispatcher = server.dispatcher()
    sent_before = [0, 20, len(request) - 2]
    clients = [server.client() for _ in range(270)]
    for client in clients:
        client.send(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
    for client in clients:
        assert client.answer().status == 200
    for number, client in enumerate(clients):
        client.send(request[:sent_before[number % 3]])
    time.sleep(0.2)
    os.kill(dispatcher, signal.SIGSTOP)
    try:
        for number, client in enumerate(clients):
            client.send(request[sent_before[number % 3]:])
        time.sleep(3)
    finally:
        os.kill(dispatcher, signal.SIGCONT)
    for client in clients:
        assert client.answer().body == b"hello"
    assert server.dispatcher() == dispatcher


def test_who_still_takes_an_answer_is_not_idle(start):
    """Whatever of it lies with the server, the kernel, or on the way."""
    server = start(SAMPLER_IDLE_TIMEOUT_MS="500")
    sizes = [50000 * number for number in range(1, 100)]
    clients = [server.client() for _ in sizes]
    for client, size in zip(clients, sizes):
        client.send(b"GET /bytes/%d HTTP/1.1\r\nHost: x\r\n\r\n" % size)
    time.sleep(1.2)
    for client, size in zip(clients, sizes):
        assert len(client.answer().body) == size
        client.socket.close()
    with server.client() as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.send(b"GET /bytes/2000000 HTTP/1.1\r\nHost: x\r\n\r\n")
        taken = b""
        for _ in range(15):  # no pause is longer than the timeout
            taken += client.read_exactly(100000)
            time.sleep(0.1)
        client.read_exactly(2000000 + taken.index(b"\r\n\r\n") + 4 - len(taken))
        assert client.get("/hello").status == 200, "it was never idle"
        assert client.is_closed()


def test_many_slow_heads_hold_up_nobody(start):
    server = start(SAMPLER_HEAD_TIMEOUT_MS="2000")
    slow = []
    for _ in range(500):
        one = socket.create_connection(server.address)
        one.send(b"GET / HTTP/1.1\r\nHost:")
        slow.append(one)
    try:
        began = time.monotonic()
        with server.client() as client:
            for _ in range(200):
                assert client.get("/hello").status == 200
        assert time.monotonic() - began < 2
        wait_for(lambda: server.status()["dispatchers"][0]["connections"] < 10, 6,
                 "the end of the slow ones")
    finally:
        for one in slow:
            one.close()


def test_slow_readers_hold_up_nobody_and_cost_bounded_memory(start):
    """20 MB for clients that do not read: the one worker serves others meanwhile, and the
    dispatcher does not buffer them."""
    server = start("--workers", "1")
    pids = [server.dispatcher(), *server.workers()]

    def resident():
        total = 0
        for pid in pids:
            with open(f"/proc/{pid}/statm", encoding="ascii") as file:
                total += int(file.read().split()[1]) * resource.getpagesize()
        return total

    before = resident()
    clients = [server.client() for _ in range(4)]
    for client in clients:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.send(b"GET /bytes/20000000 HTTP/1.1\r\nHost: x\r\n\r\n")
    time.sleep(0.5)
    grown = resident() - before
    # The worker holds the whole answers (their handlers made them at once); the
    # dispatcher a window of each.
    assert grown < 4 * 20_000_000 + 8_000_000
    with open(f"/proc/{pids[0]}/statm", encoding="ascii") as file:
        dispatcher = int(file.read().split()[1]) * resource.getpagesize()
    assert dispatcher < 20_000_000, f"the dispatcher holds {dispatcher} bytes"
    with server.client() as other:
        for _ in range(100):
            assert other.get("/hello").status == 200
        assert len(other.get("/bytes/20000000").body) == 20_000_000
    for client in clients:
        client.socket.close()
    wait_for(lambda: server.status()["pools"][0]["in_hand"] == 0)


def resident_of(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def test_who_asks_faster_than_it_is_answered_costs_bounded_memory(start):
    """What there is no room to answer stays with the client."""
    server = start("--workers", "1")
    pid = server.dispatcher()
    before = most = resident_of(pid)
    over = threading.Event()
    asked = 0
    answered = b""

    def ask(sock):
        nonlocal asked
        while not over.is_set():
            sock.sendall(b"GET /plain HTTP/1.1\r\nHost: x\r\n\r\n" * 2000)
            asked += 2000

    with server.client() as client:
        asker = threading.Thread(target=ask, args=(client.socket,))
        asker.start()
        answers = 0
        ends = time.monotonic() + 2
        while not over.is_set() or asker.is_alive() or answers < asked:
            answered += client.socket.recv(1 << 16)
            answers += answered.count(b"\r\n\r\n")
            answered = answered[-3:]
            most = max(most, resident_of(pid))
            if time.monotonic() > ends:
                over.set()
        asker.join()
        assert answers == asked
    if not os.environ.get("CREW_CFLAGS"):  # sanitizers keep what is freed
        assert most - before < 4 << 20, f"{most - before} bytes for {asked} requests"


def test_who_pipelines_large_answers_and_does_not_read_costs_bounded_memory(start, tmp_path):
    server = start("--workers", "1", "--listen", f"unix:{tmp_path}/s")
    pid = server.dispatcher()
    assert len(server.get("/bytes/90000").body) == 90000
    before = resident_of(pid)
    clients = [server.client() for _ in range(20)]
    for client in clients:
        client.send(b"GET /bytes/90000 HTTP/1.1\r\nHost: x\r\n\r\n" * 64)
    served = -1
    while served != (served := server.status()["pools"][0]["served"]):
        time.sleep(0.3)
    grown = resident_of(pid) - before
    if not os.environ.get("CREW_CFLAGS"):
        assert grown < 20 << 20, f"{grown} bytes for {len(clients)} clients"
    for client in clients:
        for _ in range(64):
            assert len(client.answer().body) == 90000
        assert client.get("/hello").status == 200
        client.socket.close()


def test_who_pipelines_files_and_does_not_read_holds_few_descriptors(start, tmp_path):
    """They are everybody's."""
    (tmp_path / "big").write_bytes(bytes(8 << 20))
    server = start("--workers", "1", SAMPLER_STATIC=str(tmp_path))
    folder = f"/proc/{server.dispatcher()}/fd"
    before = len(os.listdir(folder))
    clients = [server.client() for _ in range(4)]
    for client in clients:
        client.send(b"GET /static/big HTTP/1.1\r\nHost: x\r\n\r\n" * 20 +
                    b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_for(lambda: len(os.listdir(folder)) > before + len(clients))
    time.sleep(0.3)
    assert len(os.listdir(folder)) <= before + 3 * len(clients)
    for _ in range(20):
        assert len(clients[0].answer().body) == 8 << 20
    assert clients[0].answer().body == b'{"message":"hello"}'
    for client in clients:
        client.socket.close()
    wait_for(lambda: len(os.listdir(folder)) <= before)
