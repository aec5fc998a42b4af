# SPDX-License-Identifier: MIT
"""The examples of the supervisor do what the comments at their tops say."""
import json
import os
import pty
import re
import signal
import socket
import subprocess
import time
import urllib.request

import pytest

from conftest import BUILD, Server, children_of, is_alive, wait_for

EXAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "examples")


class Example:
    def __init__(self, folder, name, arguments, stdin):
        self.known = set()
        self.path = folder / "output"
        self.output = open(self.path, "wb")
        self.process = subprocess.Popen([os.path.join(BUILD, "examples", name), *arguments],
                                        stdin=stdin, stdout=self.output, stderr=self.output)
        self.pid = self.process.pid

    def text(self):
        return self.path.read_text(encoding="utf-8", errors="replace")

    def wait_text(self, pattern, seconds=15):
        wait_for(lambda: re.search(pattern, self.text()) or self.process.poll() is not None,
                 seconds, f"{pattern!r} in the output")
        found = re.search(pattern, self.text())
        assert found, self.text()
        return found

    def address(self):
        return "127.0.0.1", int(self.wait_text(r"listening on 127\.0\.0\.1:(\d+)\n").group(1))

    def children(self, count=2):
        found = wait_for(lambda: (lambda pids: pids if len(pids) == count else None)
                         (children_of(self.pid)), 15, f"{count} children")
        self.known.update(found)
        return found

    def stop(self):
        """Returns the exit code, after having seen that nobody is left."""
        if self.process.poll() is None:
            self.known.update(children_of(self.pid))
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError("it did not stop:\n" + self.text()) from None
        self.output.close()
        wait_for(lambda: not any(is_alive(pid) for pid in self.known),
                 what="the end of all children")
        return self.process.returncode


@pytest.fixture
def run(tmp_path):
    started = []

    def runner(name, *arguments, stdin=subprocess.DEVNULL):
        folder = tmp_path / str(len(started))
        folder.mkdir()
        started.append(Example(folder, name, arguments, stdin))
        return started[-1]

    yield runner
    for example in started:
        example.stop()


def test_sensors(run):
    example = run("sensors")
    for index in (0, 1):
        example.wait_text(rf"sensor\[{index}\] \d+: sensor {index}: \d+\.\d degrees\n")
    victim = example.children()[0]
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: victim not in example.children())
    example.wait_text(rf"\(pid {victim}\) died: signal 9 \(SIGKILL\)")

    example.process.send_signal(signal.SIGTTIN)
    example.wait_text(r"sensor\[2\] \d+: sensor 2: ")
    assert len(example.children(3)) == 3
    example.process.send_signal(signal.SIGTTOU)
    before = set(example.children(2))
    example.process.send_signal(signal.SIGHUP)
    wait_for(lambda: not before & set(children_of(example.pid)), 15)
    example.children(2)
    assert example.stop() == 0


class Call:
    """One connection to the echo server, and who answered."""
    def __init__(self, address):
        self.socket = socket.create_connection(address, 10)
        self.file = self.socket.makefile("rb")
        found = re.fullmatch(rb"pong from #(\d+) (\d+)\n", self.file.readline())
        self.index, self.pid = int(found.group(1)), int(found.group(2))

    def echo(self, text):
        self.socket.sendall(text)
        return self.file.readline()

    def close(self):
        self.file.close()
        self.socket.close()


def test_echo(run):
    example = run("echo", "0")
    address = example.address()
    pids = example.children()
    first = Call(address)
    second = Call(address) # the first one is still busy
    assert {first.index, second.index} == {0, 1}
    assert {first.pid, second.pid} == set(pids)
    for call in (first, second):
        assert call.echo(b"hello\n") == b"hello\n"
        assert call.echo(b"again\n") == b"again\n"
    second.close()
    os.kill(second.pid, signal.SIGKILL)
    waiting = Call(address) # never refused: the listener is the parent's too
    assert waiting.index == second.index and waiting.pid != second.pid
    assert waiting.echo(b"back\n") == b"back\n"
    assert first.echo(b"unmoved\n") == b"unmoved\n"
    waiting.close()
    example.children()
    for _ in range(50):
        call = Call(address)
        assert call.echo(b"x\n") == b"x\n"
        call.close()
    # It stops although somebody is on the line.
    assert example.stop() == 0
    assert first.file.readline() == b""
    first.close()
    assert "stop timeout" not in example.text()


def test_echo_says_why_it_cannot_start(run):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        example = run("echo", str(taken.getsockname()[1]))
        example.wait_text("cannot listen: Address already in use")
        assert example.process.wait(10) == 1


def threads_of(host):
    """By their names, for a sanitizer has threads of its own."""
    names = []
    for task in os.listdir(f"/proc/{host}/task"):
        with open(f"/proc/{host}/task/{task}/comm", encoding="ascii") as file:
            names.append(file.read().strip())
    return sorted(name for name in names if "[" in name)


def test_threads(run):
    example = run("threads")
    example.wait_text(r"sensor 0 of thread 1: reading \d+ of all")
    example.wait_text(r"sensor 1 of thread 1: reading \d+ of all")
    host, = example.children(1)
    assert threads_of(host) == ["sensor[0]", "sensor[1]"]
    # They count together: no number comes twice.
    example.wait_text(r"reading 6 of all")
    numbers = re.findall(r"reading (\d+) of all", example.text())
    assert sorted(map(int, numbers)) == list(range(1, len(numbers) + 1))
    assert example.stop() == 0
    assert "stale" not in example.text()


def test_a_stuck_thread_is_replaced(run):
    ours, terminal = pty.openpty()
    try:
        example = run("threads", "stuck", stdin=terminal)
        example.wait_text(r"sensor\[0\] \(pid \d+\) is stuck: no heartbeat for ")
        example.wait_text(r"sensor\[0\] cannot be killed, being a thread: it is listed as stale")
        example.wait_text(r"sensor 0 of thread 2: reading \d+ of all")
        host, = example.children(1)
        assert threads_of(host) == ["sensor[0]", "sensor[0]", "sensor[1]"]
        os.write(ours, b"status\n")
        # The threads go on talking behind it, so the prompt that follows is not the end.
        example.wait_text(rf"(?m)(?:^sensor\[[01]\] +{host} +\d \w+ .*\n(?:.*\n)*?){{3}}")
        rows = re.findall(rf"^sensor\[([01])\] +{host} +(\d) (\w+) ", example.text(), re.M)
        assert sorted(rows) == [("0", "1", "stale"), ("0", "2", "ready"), ("1", "1", "ready")]
        # Stuck to the end: it holds up the stop until its timeout, and no longer; but
        # that begins with the stop, or else the healthy threads of its process, which
        # dies with it, would have no time to finish.
        time.sleep(2.5)
        began = time.monotonic()
        assert example.stop() == 0
        assert 1.8 < time.monotonic() - began < 10
    finally:
        os.close(ours)
        os.close(terminal)
    assert "did not stop within its stop timeout of 2000 ms" in example.text()


def get(address):
    """Who served the file."""
    with urllib.request.urlopen(f"http://{address[0]}:{address[1]}/file.txt", timeout=10) as reply:
        assert reply.read() == b"contents"
        return int(reply.headers["Served-By"])


def get_of_each(address, pids):
    """Each must serve while all others are stopped."""
    for pid in pids:
        others = [other for other in pids if other != pid]
        for other in others:
            os.kill(other, signal.SIGSTOP)
        try:
            assert get(address) == pid
        finally:
            for other in others:
                os.kill(other, signal.SIGCONT)


def test_http_server(run, tmp_path):
    (tmp_path / "file.txt").write_bytes(b"contents")
    example = run("http_server", os.path.join(EXAMPLES, "supervise", "http_server.py"),
                  str(tmp_path), "0")
    address = example.address()
    assert get(address) in example.children() # who comes early waits
    get_of_each(address, example.children())
    example.wait_text(r'http\[[01]\] \d+: 127\.0\.0\.1 - - .*"GET /file\.txt HTTP/1\.1" 200')

    victim, survivor = example.children()
    os.kill(victim, signal.SIGKILL)
    for _ in range(20):
        assert get(address) != victim
    wait_for(lambda: victim not in children_of(example.pid))
    pids = example.children()
    assert survivor in pids
    get_of_each(address, pids)

    example.process.send_signal(signal.SIGHUP)
    while set(pids) & set(children_of(example.pid)):
        get(address) # nobody is refused
    get_of_each(address, example.children())
    assert example.stop() == 0
    assert "stop timeout" not in example.text()


def test_http_server_takes_only_what_is_meant_for_it():
    script = os.path.join(EXAMPLES, "supervise", "http_server.py")
    for given in ({}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}):
        ended = subprocess.run(["/usr/bin/python3", script, "."], env=given, check=False,
                               stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
        assert ended.returncode == 1 and b"LISTEN_FDS" in ended.stderr


def serve(tmp_path, name):
    return Server(str(tmp_path), program=os.path.join(BUILD, "examples", name))


def test_the_items_service_has_a_page(tmp_path):
    server = serve(tmp_path, "items")
    try:
        with server.client() as client:
            answer = client.get("/")
            assert (answer.status, answer.header("Location")) == (303, "/static/items.html")
            page = client.get("/static/items.html")
            assert page.header("Content-Type").startswith("text/html")
            assert b"/api/items" in page.body
            assert server.status()["groups"][0]["name"] == "load"
            made = client.request("POST", "/api/items", b'{"name":"bolt"}')
            assert made.status == 201
            number = json.loads(made.body)["id"]
            assert client.get(f"/api/item/{number}").status == 200
            assert client.request("DELETE", f"/api/item/{number}").status in (200, 204)
            assert client.get(f"/api/item/{number}").status == 404
    finally:
        assert server.stop() == 0


def test_publish_and_subscribe(tmp_path):
    server = serve(tmp_path, "sse")
    try:
        with server.client() as client:
            assert client.get("/").header("Location") == "/static/sse.html"
            assert b"EventSource" in client.get("/static/sse.html").body
            listeners = [server.client() for _ in range(20)]
            for number, listener in enumerate(listeners):
                listener.begin(f"/events?channel={number % 2}")
                assert listener.event() == ": welcome\nretry: 1000"
            for channel in (0, 1):
                body = json.dumps({"channel": str(channel), "msg": f"to {channel}\nall"}).encode()
                assert client.request("POST", "/publish", body).body == b'{"published":10}'
            for number, listener in enumerate(listeners):
                assert listener.event() == f"event: message\ndata: to {number % 2}\ndata: all"
                listener.socket.close()
            assert client.request("POST", "/publish", b"{}").status == 400
    finally:
        assert server.stop() == 0
