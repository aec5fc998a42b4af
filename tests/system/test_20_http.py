# SPDX-License-Identifier: MIT
"""HTTP/1.1 as it must be, and as it must be refused."""
import contextlib
import ctypes
import errno
import json
import os
import re
import signal
import socket
import threading
import time

import pytest

from client import send_lingering
from conftest import wait_for

OK = b"GET /hello HTTP/1.1\r\nHost: x\r\n"

BAD = [
    # what is wrong, the bytes, the status
    ("obs-fold", OK + b"A: b\r\n c\r\n\r\n", 400),
    ("bare CR in a value", OK + b"A: b\rc\r\n\r\n", 400),
    ("bare LF", b"GET /hello HTTP/1.1\nHost: x\n\n", 400),
    ("NUL in a value", OK + b"A: b\0c\r\n\r\n", 400),
    ("NUL in the target", b"GET /he\0llo HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ("space before the colon", OK + b"A : b\r\n\r\n", 400),
    ("empty header name", OK + b": b\r\n\r\n", 400),
    ("header without a colon", OK + b"Abc\r\n\r\n", 400),
    ("two lengths", OK + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400),
    ("two different lengths", OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx", 400),
    ("listed lengths", OK + b"Content-Length: 1, 1\r\n\r\nx", 400),
    ("signed length", OK + b"Content-Length: +1\r\n\r\nx", 400),
    ("negative length", OK + b"Content-Length: -1\r\n\r\nx", 400),
    ("hexadecimal length", OK + b"Content-Length: 0x1\r\n\r\nx", 400),
    ("empty length", OK + b"Content-Length: \r\n\r\n", 400),
    ("length that overflows", OK + b"Content-Length: 99999999999999999999\r\n\r\n", 400),
    ("length and coding", OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ("coding and length", OK + b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", 400),
    ("unknown coding", OK + b"Transfer-Encoding: rot13\r\n\r\n", 501),
    ("coding on 1.0", b"GET /hello HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("repeated coding", OK + b"Transfer-Encoding: chunked, chunked\r\n\r\n", 400),
    ("two coding lines", OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
     400),
    ("no host", b"GET /hello HTTP/1.1\r\n\r\n", 400),
    ("two hosts", OK + b"Host: y\r\n\r\n", 400),
    ("host with user", b"GET /hello HTTP/1.1\r\nHost: a@b\r\n\r\n", 400),
    ("host with a bad port", b"GET /hello HTTP/1.1\r\nHost: a:b\r\n\r\n", 400),
    ("host with broken brackets", b"GET /hello HTTP/1.1\r\nHost: [::1\r\n\r\n", 400),
    ("no version", b"GET /hello\r\n\r\n", 400),
    ("another version", b"GET /hello HTTP/2.0\r\nHost: x\r\n\r\n", 505),
    ("broken escape", b"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ("two spaces", b"GET  /hello HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ("method that is no token", b"G(T /hello HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ("unknown expectation", OK + b"Content-Length: 1\r\nExpect: tea\r\n\r\nx", 417),
    ("long line", b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    ("long line without an end", b"GET /" + b"a" * 9000, 414),
    ("long header", OK + b"A: " + b"b" * 20000 + b"\r\n\r\n", 431),
    ("many headers", OK + b"A: b\r\n" * 101 + b"\r\n", 431),
    ("large body", b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n", 413),
]

CHUNKED = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
BAD_CHUNKS = [
    ("no digits", b"\r\n\r\n"), ("sign", b"+1\r\na\r\n0\r\n\r\n"),
    ("prefix", b"0x1\r\na\r\n0\r\n\r\n"), ("overflow", b"11111111111111111\r\n"),
    ("bare LF", b"1\na\n0\n\n"), ("space before the size", b" 1\r\na\r\n0\r\n\r\n"),
    ("more than it says", b"1\r\nab\r\n0\r\n\r\n"), ("bad extension", b"1;=\r\na\r\n0\r\n\r\n"),
    ("endless extension", b"1;a=" + b"b" * 9000 + b"\r\n"),
    ("bad trailer", b"0\r\nA : b\r\n\r\n"), ("folded trailer", b"0\r\nA: b\r\n c\r\n\r\n"),
]


def test_a_length_that_is_refused_is_told_as_its_client_likes_it(server):
    large = b" /echo HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\nContent-Length: 999999999\r\n\r\n"
    with server.client() as client:
        client.send(b"GET /defer/100 HTTP/1.1\r\nHost: x\r\n\r\nPOST" + large)
        assert client.answer().status == 200
        answer = client.answer()
        assert answer.status == 413 and answer.header("Connection") == "close"
        assert answer.header("Content-Type").startswith("text/html")
        assert client.is_closed()
    with server.client() as client:
        client.send(b"HEAD" + large)
        assert client.answer("HEAD").status == 413
        assert client.is_closed()


@pytest.mark.parametrize("data,status", [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_bad_heads_are_refused(server, data, status):
    with server.client() as client:
        client.send(data)
        answer = client.answer()
        assert answer.status == status
        assert json.loads(answer.body)["error"]
        assert answer.header("Connection") == "close"
        assert client.is_closed()
    assert server.get("/hello").status == 200


@pytest.mark.parametrize("data", [row[1] for row in BAD_CHUNKS], ids=[row[0] for row in BAD_CHUNKS])
def test_bad_chunks_are_refused(server, data):
    with server.client() as client:
        client.send(CHUNKED + data)
        answer = client.answer()
        assert answer.status == 400 and json.loads(answer.body)["error"]
        assert client.is_closed()


def test_connect_is_refused(server):
    with server.client() as client:
        client.send(b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n")
        answer = client.answer()
        assert (answer.status, answer.header("Allow")) == (405, "")
        assert client.is_closed()


def test_a_chunked_body_that_grows_too_large(server):
    with server.client() as client:
        client.send(CHUNKED)
        piece = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
        try:
            for _ in range(9):
                client.send(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert client.answer().status == 413


def test_bad_clients_get_one_log_line_a_second(start):
    server = start()
    for _ in range(50):
        with server.client() as client:
            client.send(b"nonsense\r\n\r\n")
            client.answer()
    assert 1 <= server.log().count("refused a request") <= 3


@pytest.mark.parametrize("path,body", [(b"/echo", b"some bytes"), (b"/local/hello", b"")])
def test_a_request_split_at_every_byte(server, path, body):
    data = (b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (path, len(body)) + body
            if body else b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path)
    with server.client() as client:
        for cut in range(1, len(data)):
            client.send(data[:cut])
            time.sleep(0.0005)
            client.send(data[cut:])
            answer = client.answer()
            assert answer.status == 200 and (not body or answer.body == body)
        for byte in data:
            client.send(bytes([byte]))
        assert client.answer().status == 200


def test_a_thousand_pipelined_requests_are_answered_in_order(server):
    with server.client() as client:
        bodies = [f"request {i}".encode() * (1 + i % 50) for i in range(1000)]
        client.send(b"".join(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s"
                             % (len(body), body) for body in bodies))
        for body in bodies:
            assert client.answer().body == body


def test_pipelined_requests_of_different_speed_stay_in_order(server):
    with server.client() as client:
        paths = [b"/echo/60", b"/echo", b"/local/hello", b"/bytes/100000", b"/nope", b"/echo/10"]
        client.send(b"".join(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path for path in paths))
        answers = [client.answer() for _ in paths]
        assert [a.status for a in answers] == [200, 200, 200, 200, 404, 200]
        assert len(answers[3].body) == 100_000


def test_keep_alive_of_both_versions(server):
    with server.client() as client:
        client.send(b"GET /hello HTTP/1.0\r\n\r\n")
        answer = client.answer()
        assert answer.status == 200
        assert answer.header("Connection") == "close"
        assert client.is_closed()
    with server.client() as client:
        for _ in range(3):
            client.send(b"GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            assert client.answer().header("Connection") == "keep-alive"
        client.send(b"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert client.answer().header("Connection") == "close"
        assert client.is_closed()


def test_head_has_the_same_head_and_no_body(server):
    with server.client() as client:
        for path in ("/hello", "/local/hello", "/bytes/100000", "/static/hello.txt"):
            whole = client.request("GET", path)
            head = client.request("HEAD", path)
            assert head.status == 200
            assert head.header("Content-Length") == str(len(whole.body))


@pytest.mark.parametrize("kind", ["tcp", "unix"])
@pytest.mark.parametrize("more", [2, 150000])
def test_a_half_closed_client_that_sent_more_than_is_read_gets_all(start, tmp_path, kind, more):
    listen = "127.0.0.1:0" if kind == "tcp" else f"unix:{tmp_path}/socket"
    with start("--workers", "1", "--listen", listen).client() as client:
        client.send(b"GET /defer/100 HTTP/1.1\r\nHost: x\r\n\r\nGET /bytes/1000000 HTTP/1.1\r\n"
                    b"Host: x\r\nConnection: close\r\n\r\n")
        time.sleep(0.05)
        client.send(b"x" * more)
        client.socket.shutdown(socket.SHUT_WR)
        time.sleep(0.3)
        assert client.answer().status == 200
        assert len(client.answer().body) == 1000000
        assert client.more() == b""


@pytest.mark.parametrize("pause", [0, 0.05])
@pytest.mark.parametrize("size", [10, 100000, 1000000])
def test_who_sends_on_after_the_last_request_gets_its_answer(server, size, pause):
    """A plain close would let the kernel reset the connection, the answer with it."""
    with server.client() as client:
        client.send(b"GET /defer/100 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        time.sleep(pause)
        client.send(b"x" * size)
        time.sleep(0.2)
        answer = client.answer()
        assert (answer.status, answer.header("Connection")) == (200, "close")
        assert client.more() == b"", "an end, and no reset"


def test_who_asks_for_a_last_answer_gets_all_of_it_and_the_end(server):
    with server.client() as client:
        client.send(b"GET /bytes/3000000 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        time.sleep(0.1)
        assert len(client.answer().body) == 3000000
        assert client.more() == b""


def test_answers_are_not_held_back_and_who_vanished_is_found(server):
    """TCP_NODELAY and SO_KEEPALIVE (tcp(7)); looked at through a descriptor of the
    dispatcher."""
    options = {(socket.IPPROTO_TCP, socket.TCP_NODELAY): 1,
               (socket.SOL_SOCKET, socket.SO_KEEPALIVE): 1,
               (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE): 60,
               (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL): 15,
               (socket.IPPROTO_TCP, socket.TCP_KEEPCNT): 4}
    libc = ctypes.CDLL(None, use_errno=True)
    with server.client() as client:
        assert client.get("/local/hello").status == 200
        pid = server.dispatcher()
        process = os.pidfd_open(pid)
        seen = 0
        for number in map(int, os.listdir(f"/proc/{pid}/fd")):
            fd = libc.syscall(438, process, number, 0)  # pidfd_getfd(2)
            if fd < 0 and ctypes.get_errno() == errno.EBADF:
                continue  # closed since it was listed
            if fd < 0:
                pytest.skip("pidfd_getfd is forbidden here")
            try:
                with socket.socket(fileno=fd) as other:
                    if other.family != socket.AF_INET:
                        continue
                    if other.getpeername() == client.socket.getsockname():
                        assert {each: other.getsockopt(*each) for each in options} == options
                        seen += 1
            except OSError as error:
                assert error.errno in (errno.ENOTSOCK, errno.ENOTCONN, errno.EBADF)
                with contextlib.suppress(OSError):
                    os.close(fd)
        os.close(process)
        assert seen == 1


def test_100_continue(server):
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    with server.client() as client:
        client.send(head)
        assert client.answer().status == 100
        client.send(b"hello")
        assert client.answer().body == b"hello"
        client.send(head + b"again")
        assert client.answer().body == b"again"
    with server.client() as client:
        client.send(head.replace(b"/echo", b"/nope"))
        answer = client.answer()
        assert answer.status == 404
        assert client.is_closed()


def test_an_early_answer_drops_a_small_body_and_closes_before_a_large_one(server):
    with server.client() as client:
        client.send(b"POST /nope HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe")
        time.sleep(0.05)
        client.send(b"llo")
        assert client.answer().status == 404
        assert client.get("/hello").status == 200
    with server.client() as client:
        client.send(b"POST /nope HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n\r\n")
        answer = client.answer()
        assert (answer.status, answer.header("Connection")) == (404, "close")


def test_a_half_closed_client_is_answered(server):
    with server.client() as client:
        client.send(b"GET /sleep/100 HTTP/1.1\r\nHost: x\r\n\r\nGET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
        client.socket.shutdown(1)
        assert client.answer().status == 200
        assert client.answer().status == 200
        assert client.is_closed()


def test_a_half_closed_client_is_answered_though_the_rest_is_read_later(start):
    """Answers that are known to be large let no more be taken in: it waits while others work."""
    server = start("--workers", "1")
    with server.client() as client, server.client() as other:
        assert len(other.get("/bytes/90000").body) == 90000
        client.send(b"GET /sleep/200 HTTP/1.1\r\nHost: x\r\n\r\n" +
                    b"GET /bytes/90000 HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        client.socket.shutdown(socket.SHUT_WR)
        time.sleep(0.1)
        other.send(b"GET /sleep/400 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.answer().status == 200
        assert [len(client.answer().body) for _ in range(3)] == [90000] * 3
        assert client.is_closed()
        assert other.answer().status == 200


@pytest.fixture(params=["epoll", "unix"])
def half_closed(request, start, tmp_path):
    """A function: the first answers to these requests, and to the bytes behind them, of a client
    that closes its side so many seconds later, and then reads; and what came behind those."""
    server = start("--workers", "2", "--loop", "epoll", *{
        "epoll": [], "unix": ["--listen", f"unix:{tmp_path}/socket"]}[request.param])

    def ask(*targets, behind=b"", after=0.0, answers=1):
        with server.client() as client:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            client.send(b"".join(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % target
                                 for target in targets) + behind)
            time.sleep(after)
            client.socket.shutdown(socket.SHUT_WR)
            time.sleep(0.2)
            found = [client.answer() for _ in range(answers)]
            while client.more():
                pass
        wait_for(lambda: server.status()["pools"][0]["in_hand"] == 0, what="the streams' end")
        return found, client.buffer
    return ask


@pytest.mark.parametrize("after", [0, 0.1])
@pytest.mark.parametrize("first", [b"/hello", b"/defer/200", b"/bytes/3000000"])
def test_a_half_closed_client_loses_a_stream_and_nothing_before_it(half_closed, first, after):
    found, behind = half_closed(b"/plain", first, b"/ticks/50", b"/ticks/50", b"/defer/10",
                                after=after, answers=2)
    assert [answer.status for answer in found] == [200, 200]
    assert b"0\r\n\r\n" not in behind, "what there is of a stream is cut visibly"
    if first == b"/defer/200":
        assert behind == b"", "it was never the first"


@pytest.mark.parametrize("after", [0, 0.1])
def test_a_half_closed_client_loses_the_rest_of_a_body_and_nothing_before_it(half_closed, after):
    found, behind = half_closed(
        b"/plain", b"/defer/200", after=after, answers=3,
        behind=b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")
    assert [answer.status for answer in found] == [200, 200, 400]
    assert behind == b""


@pytest.mark.parametrize("size", [10, 65536, 65537, 300000, 3000000])
def test_a_body_and_the_end_of_file_at_once(server, size):
    """What is read in parts, and what stands behind it, comes as one event."""
    body = os.urandom(size)
    with server.client() as client:
        client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s"
                    % (size, body))
        client.socket.shutdown(socket.SHUT_WR)
        assert client.answer().body == body
        assert client.more() == b""


def test_more_requests_than_are_read_at_once_and_the_end_of_file(server):
    """The reading rests where 64 answers are due, and goes on without an event."""
    with server.client() as client:
        client.send(OK + b"\r\n" + (b"GET /sleep/1 HTTP/1.1\r\nHost: x\r\n\r\n") * 300)
        client.socket.shutdown(socket.SHUT_WR)
        assert [client.answer().status for _ in range(301)] == [200] * 301
        assert client.more() == b""


@pytest.mark.parametrize("kind", ["tcp", "unix"])
@pytest.mark.parametrize("asked", [10, 100])
def test_a_half_closed_client_that_waits_costs_no_processor(start, tmp_path, kind, asked):
    listen = "127.0.0.1:0" if kind == "tcp" else f"unix:{tmp_path}/socket"
    server = start("--workers", "1", "--listen", listen)
    pid = server.dispatcher()
    with server.client() as client:
        client.send(b"GET /defer/1000 HTTP/1.1\r\nHost: x\r\n\r\n" * asked)
        client.socket.shutdown(socket.SHUT_WR)
        time.sleep(0.2)
        before = processor_ms(pid)
        time.sleep(0.5)
        assert processor_ms(pid) - before < 100
        assert [client.answer().status for _ in range(asked)] == [200] * asked
        assert client.more() == b""


@pytest.mark.parametrize("asked", [b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n",
                                   b"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
                                   b"and more"])
def test_who_sends_a_socket_along_holds_up_nobody(start, tmp_path, asked):
    """To close the last of such a socket can take as long as its sender wants."""
    server = start("--workers", "1", "--listen", f"unix:{tmp_path}/socket")
    dispatcher = server.dispatcher()
    with server.client() as client:
        assert client.get("/hello").status == 200
        os.kill(dispatcher, signal.SIGSTOP)
        with send_lingering(client.socket, asked):
            os.kill(dispatcher, signal.SIGCONT)
            assert client.answer().status == 200
            for _ in range(2):
                assert server.get("/health").status == 200


def processor_ms(pid):
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
        return int(file.read().split()[0]) / 1e6


def test_a_client_that_asks_much_and_reads_late(server):
    """Neither side gives up: what is full in both directions moves on."""
    asked = b"GET /bytes/20000 HTTP/1.1\r\nHost: x\r\n\r\n" * 500
    with server.client() as client:
        sender = threading.Thread(target=client.send, args=(asked,))
        sender.start()
        time.sleep(0.3)
        for _ in range(500):
            assert len(client.answer().body) == 20000
        sender.join()


@pytest.mark.parametrize("size", [32767, 32768, 32769, 65535, 65536, 65537, 131072,
                                  262144, 262145, 1 << 20, 4 << 20, (4 << 20) + 1])
@pytest.mark.parametrize("at_once", [True, False])
def test_a_large_body_and_what_is_asked_behind_it(server, size, at_once):
    """Wherever it is kept, and however it comes: each byte is its own, and none is the next's."""
    body = (b"%07d " % size) * (size // 8 + 1)
    body = body[:size - 4] + b"end!"
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size
    parts = [head + body + OK + b"\r\n"] if at_once else \
        [head, body[:100], body[100:-1000], body[-1000:] + OK[:9], OK[9:] + b"\r\n"]
    with server.client() as client:
        sender = threading.Thread(target=lambda: [(client.send(part), time.sleep(0.02))
                                                  for part in parts])
        sender.start()
        assert client.answer().body == body
        assert json.loads(client.answer().body) == {"message": "hello"}
        sender.join()


@pytest.mark.parametrize("total", [place + by for place in (8192, 65536) for by in (-1, 0, 1)])
@pytest.mark.parametrize("last", [False, True])
def test_a_request_as_long_as_what_is_read_at_once(server, total, last):
    """With nothing behind it, another request, or the client's end of file."""
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    size = total - len(head % total)
    request = (head % size).ljust(total, b"x")
    assert len(request) == total == len(head % size) + size
    with server.client() as client:
        for _ in range(3):
            client.send(request)
            assert client.answer().body == b"x" * size
        client.send(request + OK + b"\r\n")
        assert client.answer().body == b"x" * size
        assert client.answer().status == 200
        client.send(request)
        if last:
            client.socket.shutdown(socket.SHUT_WR)
        assert client.answer().body == b"x" * size
        assert client.is_closed() if last else client.get("/hello").status == 200


def test_an_upload_between_requests_that_stay(start):
    """Where slow answers hold the requests' memory in pieces, a body's parts fit between them."""
    server = start("--workers", "1")
    ask = b"GET /bytes/8000000 HTTP/1.1\r\nHost: x\r\nContent-Length: 16384\r\n\r\n" + b"x" * 16384
    with contextlib.ExitStack() as stack:
        slow = []
        while True:
            client = stack.enter_context(server.client(timeout=1))
            client.send(ask)
            try:
                assert client.socket.recv(1) == b"H"
            except TimeoutError:
                break  # no room is left for its request
            slow.append(client)
        assert 50 < len(slow) < 70
        for one in [client, *slow[::2]]:
            one.socket.close()
        body = os.urandom(500_000)
        with server.client() as uploader:
            uploader.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n" + body)
            assert uploader.answer().body == body


def test_memory_of_large_requests_serves_the_next_and_then_goes_back(start):
    server = start("--workers", "1")
    with open(f"/proc/{server.workers()[0]}/maps") as maps:
        if "san.so" in maps.read():
            pytest.skip("sanitizers keep what is freed")

    def held():
        with open(f"/proc/{server.workers()[0]}/status") as status:
            return int(re.search(r"RssAnon:\s+(\d+) kB", status.read()).group(1))
    body = os.urandom(1_000_000)
    before = held()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.client()) for _ in range(4)]
        for _ in range(5):
            for client in clients:
                client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + body)
            for client in clients:
                assert client.answer().body == body
        assert held() - before > 900
        # Also while there is something else to do.
        wait_for(lambda: clients[0].get("/hello").status == 200 and held() - before < 500, 5)


def test_urgent_data_does_not_stop_the_reading(server):
    for part in (b"GET /hello HT", OK, OK + b"\r\n", b""):
        with server.client() as client:
            if part:
                client.send(part)
            client.socket.send(b"!", socket.MSG_OOB)
            client.send((OK + b"\r\n")[len(part):] + OK + b"\r\n")
            assert client.answer().status == 200 and client.answer().status == 200


def test_a_client_that_leaves_harms_nobody(server):
    for _ in range(100):
        client = server.client()
        client.send(b"POST /echo/5 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")
        client.socket.close()
    assert server.get("/hello").status == 200
    assert server.status()["pools"][0]["restarts"] == 0


def test_a_head_that_does_not_come_in_time(server):
    with server.client() as client:
        began = time.monotonic()
        client.send(b"GET /hello HT")
        time.sleep(2)
        client.send(b"TP/1.1\r\nHost:")
        assert client.answer().status == 408
        assert 4 < time.monotonic() - began < 7, "the clock runs from the first byte"
        assert client.is_closed()
