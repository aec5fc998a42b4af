# SPDX-License-Identifier: MIT
"""A small, strict HTTP/1.1 client over a plain socket: it sends the bytes that a
test gives it, and reads answers so exactly that a wrong byte is an error."""
import socket
import struct


class Answer:
    def __init__(self, version, status, reason, headers, body):
        self.version, self.status, self.reason = version, status, reason
        self.headers, self.body = headers, body

    def header(self, name):
        values = [v for n, v in self.headers if n.lower() == name.lower()]
        assert len(values) <= 1, f"{name} is repeated: {values}"
        return values[0] if values else None


class Closed(Exception):
    """The server closed the connection where an answer should begin."""


class Client:
    def __init__(self, address, timeout=10):
        if isinstance(address, str):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(timeout)
            self.socket.connect(address)
        else:
            self.socket = socket.create_connection(address, timeout)
        self.buffer = b""
        self.text = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def more(self):
        data = self.socket.recv(1 << 18)
        self.buffer += data
        return data

    def read_until(self, mark):
        while mark not in self.buffer:
            if not self.more():
                if self.buffer:
                    raise AssertionError(f"closed in the middle: {self.buffer[:200]!r}")
                raise Closed()
        part, self.buffer = self.buffer.split(mark, 1)
        return part

    def read_exactly(self, size):
        while len(self.buffer) < size:
            if not self.more():
                raise AssertionError(f"closed {size - len(self.buffer)} bytes too early")
        part, self.buffer = self.buffer[:size], self.buffer[size:]
        return part

    def read_chunks(self):
        body = b""
        while True:
            line = self.read_until(b"\r\n")
            size = int(line, 16)
            body += self.read_exactly(size)
            assert self.read_exactly(2) == b"\r\n"
            if size == 0:
                return body

    def answer(self, method="GET"):
        head = self.read_until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        version, status, reason = head[0].split(" ", 2)
        headers = [tuple(line.split(": ", 1)) for line in head[1:]]
        answer = Answer(version, int(status), reason, headers, b"")
        assert version == "HTTP/1.1"
        if answer.status == 100:
            return answer
        assert answer.header("Date"), "every answer has a date"
        if method == "HEAD" or answer.status in (204, 304):
            return answer
        if answer.header("Transfer-Encoding") == "chunked":
            answer.body = self.read_chunks()
        else:
            answer.body = self.read_exactly(int(answer.header("Content-Length")))
        return answer

    def request(self, method, target, body=None, headers=()):
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost"]
        lines += [f"{name}: {value}" for name, value in headers]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b""))
        return self.answer(method)

    def get(self, target, **options):
        return self.request("GET", target, **options)

    def begin(self, target, headers=(), method="GET"):
        """Ask for a stream; returns its head, its body is for chunk() and event()."""
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost"]
        lines += [f"{name}: {value}" for name, value in headers]
        self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n")
        head = self.read_until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        _, status, reason = head[0].split(" ", 2)
        self.text = b""
        return Answer("HTTP/1.1", int(status), reason,
                      [tuple(line.split(": ", 1)) for line in head[1:]], b"")

    def chunk(self):
        """The next chunk of a stream; b"" is its end."""
        size = int(self.read_until(b"\r\n"), 16)
        data = self.read_exactly(size)
        assert self.read_exactly(2) == b"\r\n"
        return data

    def event(self):
        """The next event as its lines, joined; None at the end."""
        while b"\n\n" not in self.text:
            data = self.chunk()
            if not data:
                assert self.text == b"", "the end is between two events"
                return None
            self.text += data
        event, self.text = self.text.split(b"\n\n", 1)
        return event.decode()

    def is_closed(self):
        """Wait until the server closes; False if it sends something instead."""
        try:
            return not self.more()
        except ConnectionResetError:
            return True


def send_lingering(to, data):
    """Send data, and with it a TCP socket that takes a minute to close, since its peer reads
    nothing: returns that one, to be closed when all is over. Who receives it is to have the last
    of it, so it must be stopped (SIGSTOP) meanwhile."""
    with socket.socket() as listener, socket.socket() as sent:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        sent.connect(listener.getsockname())
        peer = listener.accept()[0]
        sent.setblocking(False)
        try:
            while True:
                sent.send(bytes(65536))
        except BlockingIOError:
            pass
        try:
            sent.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 60))
            socket.send_fds(to, [data], [sent.fileno()])
        except PermissionError:  # from Linux 6.16 on it can be refused
            sent.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 0))
            to.send(data)
    return peer
