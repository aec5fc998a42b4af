# SPDX-License-Identifier: MIT
"""The access log: a line for each request of a client, once it is over."""
import json
import os
import re
import signal
import socket
import subprocess

import pytest

from client import Client
from conftest import SAMPLER, wait_for

LINE = re.compile(r"info +dispatcher\[\d\] \d+: access (\S+) \"([^\"]*)\" (\S+) (\d+) (\S+) ms "
                  r"(\S+)( cut)?$", re.M)


def lines(server, about):
    """(request line, status, bytes, pool, whether it was cut short) of those with that text."""
    return [(found[2], found[3], int(found[4]), found[6], bool(found[7]))
            for found in LINE.finditer(server.log()) if about in found[2]]


def line(server, about):
    wait_for(lambda: lines(server, about), what=f"a line about {about}")
    found = lines(server, about)
    assert len(found) == 1
    return found[0]


def connected(address):
    """As soon as somebody listens there."""
    def try_it():
        try:
            return Client(address)
        except OSError:
            return None
    return wait_for(try_it, what="a listener")


def leave(client):
    """By a reset."""
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def test_what_was_asked_and_answered(start):
    server = start("--workers", "1", "--access-log")
    with server.client() as client:
        name = "%s:%d" % client.socket.getsockname()
        for number, (method, target, body, pool) in enumerate([
                ("GET", "/hello?x=%41&y", None, "sampler"), ("HEAD", "/hello", None, "sampler"),
                ("GET", "/static/hello.txt", None, "-"), ("HEAD", "/static/hello.txt", None, "-"),
                ("GET", "/nowhere", None, "-"), ("GET", "/local/hello", None, "-"),
                ("DELETE", "/hello", None, "-"), ("GET", "/count/2", None, "sampler"),
                ("GET", "/defer/5", None, "sampler"), ("GET", "/crash/abort", None, "sampler"),
                ("GET", "/private/a", None, "sampler"),
                ("POST", "/echo", b"x" * 100000, "sampler")]):
            target += ("&" if "?" in target else "?") + f"n={number}."
            answer = client.request(method, target, body)
            assert line(server, f"n={number}.") == \
                (f"{method} {target} HTTP/1.1", str(answer.status), len(answer.body), pool, False)
    with server.client() as client:
        client.send(b"GET http://x/hello?old HTTP/1.0\r\n\r\n")
        assert client.read_until(b"\r\n").startswith(b"HTTP/1.1 200")
    assert line(server, "old")[0] == "GET http://x/hello?old HTTP/1.0"
    assert server.stop() == 0
    mine = [found for found in LINE.finditer(server.log()) if found[1] == name]
    assert len(mine) == 12
    assert all(0 < float(found[5]) < 60000 for found in mine)


@pytest.mark.parametrize("path,mark,status", [("/ticks/10", b"data:", "200"),
                                              ("/defer/60000", b"", "-")])
def test_whose_client_leaves(start, path, mark, status):
    server = start("--workers", "1", "--access-log")
    with server.client() as client:
        client.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        while mark not in client.buffer:
            assert client.more()
        wait_for(lambda: server.status()["pools"][0]["workers"][0]["requests"])
        assert not lines(server, path), "it is not over"
        leave(client)
    asked, is_status, size, pool, cut = line(server, path)
    assert (asked, is_status, pool, cut) == (f"GET {path} HTTP/1.1", status, "sampler", True)
    assert (size > 0) == (mark != b"")


def test_those_of_a_connection_are_in_order(start):
    """Also where what is asked later is done first, by another worker or the dispatcher."""
    server = start("--workers", "2", "--access-log")
    targets = ["/defer/300?order", "/hello?order", "/nowhere?order", "/local/hello?order",
               "/defer/1?order"]
    with server.client() as client:
        client.send(b"".join(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
                             for target in targets))
        assert [client.answer().status for _ in targets] == [200, 200, 404, 200, 200]
    wait_for(lambda: len(lines(server, "order")) == len(targets))
    assert [found[0] for found in lines(server, "order")] == \
        [f"GET {target} HTTP/1.1" for target in targets]


def test_what_was_never_sent_is_no_whole_answer(start):
    """It was made, and held back by one before it that never was."""
    server = start("--workers", "1", "--access-log")
    with server.client() as client:
        client.send(b"GET /defer/60000?never HTTP/1.1\r\nHost: x\r\n\r\n"
                    b"GET /nowhere?never HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: [one["state"] for one in server.status()["pools"][0]["workers"][0]
                          ["requests"]] == ["deferred"])
        leave(client)
    wait_for(lambda: len(lines(server, "never")) == 2)
    assert [(found[1], found[4]) for found in lines(server, "never")] == \
        [("-", True), ("404", True)]


def test_what_is_refused(start):
    """What is known of it."""
    server = start("--workers", "1", "--access-log", SAMPLER_BODY_TIMEOUT_MS="100",
                   SAMPLER_HEAD_TIMEOUT_MS="100")

    def refused(request):
        with server.client() as client:
            client.send(request)
            client.read_until(b"\r\n\r\n")
            name = "%s:%d" % client.socket.getsockname()
        found = wait_for(lambda: [(one[2], one[3], one[5], one[6])
                                  for one in LINE.finditer(server.log()) if one[1] == name])
        assert len(found) == 1
        return found[0]
    assert refused(b"what\r\n\r\n") == ("-", "400", "-", "-")
    assert refused(b"GET /hello HTT") == ("-", "408", "-", "-")
    assert refused(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 30000) == ("-", "431", "-", "-")
    asked, status, took, _ = refused(b"POST /echo HTTP/1.1\r\nHost: x\r\n"
                                     b"Content-Length: 99999999999\r\n\r\n")
    assert (asked, status) == ("POST /echo HTTP/1.1", "413") and took != "-"
    asked, status, took, _ = refused(b"POST /echo HTTP/1.1\r\nHost: x\r\n"
                                     b"Content-Length: 10\r\n\r\nxxx")
    assert (asked, status) == ("POST /echo HTTP/1.1", "408") and float(took) > 0
    assert refused(b"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n")[1] == "400"


@pytest.mark.parametrize("form", ["plain", "json", "logfmt", "systemd"])
def test_nobody_can_forge_a_line(start, form):
    server = start("--workers", "1", "--access-log", "--log-format", form)
    hostile = '/x" 200 0 1 ms -%0a<3>parent:%1b[31m\\'.replace(" ", "+")
    long = "/" + "y" * 3000 + '"' * 3000
    with server.client() as client:
        assert client.get(hostile).status == 404
        assert client.get(long).status == 404
        client.send(b"GET /\xff\x1b HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.answer().status == 400
    assert server.stop() == 0
    said = [one for one in server.log().splitlines() if "access" in one and " 40" in one]
    assert len(said) == 3
    if form == "json":
        said = [json.loads(one) for one in said]
        assert all(one["origin"] == "dispatcher[0]" and one["level"] == "info" and one["pid"] > 1
                   for one in said)
        said = [one["message"] for one in said]
    if form == "logfmt":
        assert all(" level=info origin=dispatcher[0] pid=" in one for one in said)
        said = [re.search(r' msg="(.*)"$', one)[1].replace('\\"', '"').replace("\\\\", "\\")
                for one in said]
    if form == "systemd":
        assert all(one.startswith("<6>dispatcher[0] ") for one in said)
    shown = hostile.replace("\\", r"\x5c").replace('"', r"\x22")
    assert f'"GET {shown} HTTP/1.1" 404 35 ' in said[0]
    assert re.search(r'"GET /y{3000}(\\x22)+ \[cut\]" 404 35 [0-9.]+ ms -$', said[1])
    assert '"-" 400 ' in said[2]


def test_each_is_told_whatever_the_level(start):
    """None is taken for a repeated line."""
    server = start("--workers", "1", "--access-log")

    def writes_errors():
        return json.loads(client.request("POST", "/log/40?text=an+error", b"").body)["written"]
    with server.client() as client:
        assert client.request("POST", "/level/50?all=1").status == 200
        wait_for(lambda: not writes_errors(), what="the new level")
        for _ in range(50):
            assert client.get("/nowhere?again").status == 404
    wait_for(lambda: len(lines(server, "again")) == 50)
    assert "repeated" not in server.log()


def test_a_server_that_logs_nothing_else(tmp_path):
    address, path = str(tmp_path / "socket"), tmp_path / "log"
    with open(path, "wb") as log:
        process = subprocess.Popen([SAMPLER, "--listen", f"unix:{address}", "--workers", "1",
                                    "--access-log", "--log-level", "critical"],
                                   stdin=subprocess.DEVNULL, stderr=log)
    try:
        with connected(address) as client:
            assert client.get("/nowhere").status == 404
        wait_for(lambda: path.read_text().endswith(" ms -\n"))
    finally:
        process.terminate()
        assert process.wait(15) == 0
    assert re.fullmatch(r'\S+ info +dispatcher\[0\] \d+: access unix: "GET /nowhere HTTP/1.1" '
                        r'404 35 [0-9.]+ ms -\n', path.read_text())


def test_off_by_default(start):
    server = start("--workers", "1")
    assert server.get("/hello").status == 200
    assert server.stop() == 0
    assert "access" not in server.log()


def test_a_log_that_nobody_reads_holds_nobody_up(start):
    """Lines are dropped, and that is told."""
    server = start("--workers", "1", "--access-log")
    os.kill(server.pid, signal.SIGSTOP)
    try:
        with server.client() as client:
            for _ in range(2000):
                assert client.get("/nowhere?" + "x" * 100).status == 404
    finally:
        os.kill(server.pid, signal.SIGCONT)

    def told():
        """With a line for which there is room again."""
        assert server.get("/hello").status == 200
        return re.search(r"dispatcher\[0\] \d+: dropped \d+ of this process's lines",
                         server.log())
    wait_for(told)
    wait_for(lambda: lines(server, "/hello"))
