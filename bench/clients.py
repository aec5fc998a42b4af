# SPDX-License-Identifier: MIT
"""Clients of our own, for what wrk cannot do: see which of many are answered at all, and ask at
a fixed rate, whatever became of the requests before."""
import collections
import contextlib
import random
import re
import select
import socket
import time

SERVED_S = 5       # who was not answered by then is not served
LATE_S = 5         # after the last request: what is answered later has failed
CONNECTIONS = 64   # of an open loop at its beginning; more are made when all are busy
SPIN_S = 0.0001    # before a request is due its client does not sleep: it would wake too late

TRIVIAL = "/hello"
MIX = {TRIVIAL: 0.90, "/sleep/1": 0.09, "/sleep/50": 0.01}
MIX_RATE = 1000    # a second


def is_success(answer):
    """None while it is not whole."""
    head, end, body = answer.partition(b"\r\n\r\n")
    size = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    if end and (not size or not re.match(rb"HTTP/1\.[01] 200 ", head)):
        return False
    return True if end and len(body) >= int(size.group(1)) else None


class ClosedLoop:
    """So many clients, each of which asks again as soon as it was answered, until all were.
    `answered`: which of them were. wrk does not say, and what it says of the others looks good."""

    def __init__(self, port, path, count, close=False):
        self.port, self.count, self.close = port, count, close
        self.text = (f"GET {path} HTTP/1.1\r\nHost: bench\r\n"
                     + ("Connection: close\r\n" if close else "") + "\r\n").encode()
        self.poll, self.answered = select.epoll(), set()
        self.clients = {}  # [socket, whose, what came] by descriptor

    def run(self):
        end = time.monotonic() + SERVED_S
        try:
            for whose in range(self.count):
                self.connect(whose)
            while len(self.answered) < self.count and time.monotonic() < end:
                for number, said in self.poll.poll(0.1):
                    self.go_on(number, said)
        finally:
            for sock, _, _ in self.clients.values():
                sock.close()
            self.poll.close()
        return self

    def connect(self, whose):
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(("127.0.0.1", self.port))
        self.poll.register(sock, select.EPOLLOUT)
        self.clients[sock.fileno()] = [sock, whose, b""]

    def go_on(self, number, said):
        sock, whose, answer = self.clients[number]
        try:
            if said & select.EPOLLOUT:
                sock.send(self.text)
                self.poll.modify(number, select.EPOLLIN)
                return
            part = sock.recv(65536)
        except OSError:
            part = b""
        success = is_success(answer + part) if part else False
        if part and success is not None:
            self.answered.add(whose)
        if success is False or success and self.close:
            del self.clients[number]
            sock.close()
            self.connect(whose)
        elif success:
            self.clients[number][2] = b""
            self.poll.modify(number, select.EPOLLOUT)
        else:
            self.clients[number][2] = answer + part


def arrivals(seconds, rate=MIX_RATE, seed=1):
    """[(second, path)]: requests that come at random and independently of each other, so many
    a second on the average; one dice says of each which kind it is."""
    dice, now, stream = random.Random(seed), 0.0, []
    while (now := now + dice.expovariate(rate)) < seconds:
        stream.append((now, dice.choices(list(MIX), list(MIX.values()))[0]))
    return stream


class OpenLoop:
    """Each request is sent when it is due, on a connection on which none waits, and what it took
    counts from then. `took`: the seconds of each success, by path."""

    def __init__(self, port):
        self.port, self.poll = port, select.epoll()
        self.idle = collections.OrderedDict()  # sockets by descriptor
        self.busy = {}  # [socket, what came, path, when it was due] by descriptor
        self.took, self.failed = collections.defaultdict(list), 0

    def run(self, stream):
        try:
            for _ in range(CONNECTIONS):
                self.connect()
            began = time.perf_counter()
            for second, path in stream:
                self.listen(began + second)
                self.ask(path, began + second)
            end = time.perf_counter() + LATE_S
            while self.busy and time.perf_counter() < end:
                self.listen(time.perf_counter() + 0.01)
            self.failed += len(self.busy)
        finally:
            for sock in [*self.idle.values(), *(one[0] for one in self.busy.values())]:
                sock.close()
            self.poll.close()
        return self

    def connect(self):
        sock = socket.create_connection(("127.0.0.1", self.port), LATE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        self.poll.register(sock, select.EPOLLIN)
        self.idle[sock.fileno()] = sock

    def ask(self, path, due):
        try:
            if not self.idle:
                self.connect()
        except OSError:
            self.failed += 1
            return
        number, sock = self.idle.popitem(last=False)
        self.busy[number] = [sock, b"", path, due]
        with contextlib.suppress(OSError):  # epoll says so too
            sock.send(f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())

    def listen(self, until):
        while True:
            left = until - time.perf_counter()
            if left > SPIN_S:  # epoll_wait(2) would sleep for whole milliseconds
                select.select([self.poll.fileno()], [], [], left - SPIN_S)
            for number, _ in self.poll.poll(0):
                self.hear(number)
            if left <= 0:
                return

    def hear(self, number):
        if number in self.idle:  # closed while nobody waited
            self.idle.pop(number).close()
            return
        sock, answer, path, due = self.busy[number]
        try:
            part = sock.recv(65536)
        except OSError:
            part = b""
        self.busy[number][1] = answer + part
        success = is_success(answer + part) if part else False
        if success is None:
            return
        del self.busy[number]
        if success:
            self.took[path].append(time.perf_counter() - due)
            self.idle[number] = sock
        else:
            self.failed += 1
            sock.close()
