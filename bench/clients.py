# SPDX-License-Identifier: MIT
"""Clients of our own, for what wrk cannot do: see which of many are answered at all."""
import re
import select
import socket
import time

SERVED_S = 5  # who was not answered by then is not served


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
