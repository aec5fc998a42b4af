# SPDX-License-Identifier: MIT
"""Each endpoint of the sampler, once."""
import json
import os
import signal
import time

import pytest

from conftest import wait_for


def test_hello_from_worker_and_dispatcher(server):
    for path in ("/hello", "/local/hello"):
        answer = server.get(path)
        assert (answer.status, answer.body) == (200, b'{"message":"hello"}')
        assert answer.header("Content-Type") == "application/json"


def test_index_lists_what_there_is(server):
    answer = server.get("/")
    assert answer.status == 200
    assert answer.header("Content-Type").startswith("text/html")
    assert b"/crash/" in answer.body and b"/status" in answer.body


def test_plain(server):
    answer = server.get("/plain")
    assert (answer.status, answer.body) == (200, b"hello")
    assert answer.header("Content-Type").startswith("text/plain")


@pytest.mark.parametrize("size", [0, 1, 1000, 16384, 16385, 65536, 200_000, 3_000_000])
def test_echo_gives_the_same_bytes_back(server, size):
    body = bytes(i * 7 % 251 for i in range(size))
    with server.client() as client:
        answer = client.request("POST", "/echo", body, [("Content-Type", "x/y")])
        assert answer.body == body
        assert answer.header("Content-Type") == "x/y"
        assert client.get("/hello").status == 200


@pytest.mark.parametrize("size", [0, 1, 70_000, 700_000])
def test_echo_of_a_chunked_body(server, size):
    body = bytes(i * 7 % 251 for i in range(size))
    pieces = [body[i:i + 9999] for i in range(0, size, 9999)]
    with server.client() as client:
        client.send(b"PUT /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in pieces:
            client.send(b"%x;name=value\r\n%s\r\n" % (len(piece), piece))
        client.send(b"0\r\nTrailer: dropped\r\n\r\n")
        answer = client.answer()
        assert answer.body == body
        assert answer.header("Content-Type") == "application/octet-stream"
        assert client.get("/hello").status == 200


def test_headers_shows_what_was_sent(server):
    with server.client() as client:
        answer = client.get("/headers?a=1&b=%20", headers=[("Cookie", "k=v; session=ok"),
                                                           ("X-Some", "thing")])
        other = client.get("/headers?a=1&b=+&a=2", headers=[
            ("X-Forwarded-For", "192.0.2.7"), ("X-Forwarded-For", "192.0.2.8, 127.0.0.2")])
    seen = json.loads(answer.body)
    assert (seen["method"], seen["path"], seen["query"]) == ("GET", "/headers", "a=1&b=%20")
    assert seen["headers"]["X-Some"] == "thing"
    assert seen["cookies"] == {"k": "v", "session": "ok"}
    assert seen["client"].startswith("127.0.0.1:")
    assert (seen["protocol"], seen["forwarded_for"]) == ("HTTP/1.1", "127.0.0.1")
    seen = json.loads(other.body)
    assert seen["forwarded_for"] == "192.0.2.8"
    assert seen["parameters"] == [["a", "1"], ["b", " "], ["a", "2"]]


def test_whoami_names_a_worker_of_status(server):
    me = json.loads(server.get("/whoami").body)
    pool = server.status()["pools"][0]
    assert me["pool"] == pool["name"] == "sampler"
    assert me["pid"] == pool["workers"][me["worker"]]["pid"]
    assert me["generation"] == 1


@pytest.mark.parametrize("size", [0, 1, 65_000, 66_000, 5_000_000])
def test_bytes(server, size):
    body = server.get(f"/bytes/{size}").body
    assert body == (b"abcdefghijklmnopqrstuvwxyz" * (size // 26 + 1))[:size]


def test_a_slow_reader_gets_all_and_holds_up_nobody(server):
    with server.client() as slow, server.client() as other:
        slow.send(b"GET /bytes/20000000 HTTP/1.1\r\nHost: x\r\n\r\n")
        for _ in range(50):
            began = time.monotonic()
            assert other.get("/hello").status == 200
            assert time.monotonic() - began < 1
        body = slow.answer().body
        assert len(body) == 20_000_000 and body[:26] == b"abcdefghijklmnopqrstuvwxyz"


@pytest.mark.parametrize("path", ["/sleep/50", "/spin/50", "/work/50000", "/alive/120",
                                  "/echo/50"])
def test_waiting(server, path):
    began = time.monotonic()
    assert server.get(path).status == 200
    assert time.monotonic() - began >= 0.05


def test_fail_has_the_status_and_form_that_are_asked_for(server):
    answer = server.get("/fail/418")
    assert (answer.status, json.loads(answer.body)) == (418, {"error": "as you wished"})
    with server.client() as client:
        answer = client.get("/fail/500", headers=[("Accept", "text/html")])
        assert answer.status == 500
        assert answer.header("Content-Type").startswith("text/html")
        answer = client.get("/nothing", headers=[("Accept", "text/plain")])
        assert answer.header("Content-Type").startswith("text/plain")
        for target in ("/nothing", "/fail/500"):  # several lines are one list
            for lines in (("text/plain", "image/png"), ("image/png", "text/plain")):
                answer = client.get(target, headers=[("Accept", line) for line in lines])
                assert answer.header("Content-Type").startswith("text/plain")


# What was asked for last is kept.
def test_the_form_of_an_error_is_each_requests_own(server):
    long = "x/y;q=0.5, " * 30
    with server.client() as client:
        for accept, form in [("text/html", "text/html"), (None, "application/json"),
                             ("text/html", "text/html"), ("text/html", "text/html"),
                             ("text/HTML", "text/html"), ("text/htmx", "application/json"),
                             ("text/htm", "application/json"), ("", "application/json"),
                             (long + "text/plain", "text/plain"), ("text/html", "text/html"),
                             (long + "text/html", "text/html"), (long, "application/json"),
                             ("text/plain", "text/plain")]:
            headers = [] if accept is None else [("Accept", accept)]
            answer = client.get("/nothing", headers=headers)
            assert answer.header("Content-Type").startswith(form), accept


def test_items(server):
    with server.client() as client:
        answer = client.request("POST", "/api/items", b'{"name":"bolt"}')
        assert answer.status == 201
        item = json.loads(answer.body)
        assert client.get(f"/api/item/{item['id']}").body == answer.body
        assert item in json.loads(client.get("/api/items").body)["items"]
        assert client.request("DELETE", f"/api/item/{item['id']}").status == 200
        assert client.get(f"/api/item/{item['id']}").status == 404
        answer = client.request("POST", "/api/items", b'{"name":')
        assert answer.status == 400
        assert "not JSON" in json.loads(answer.body)["error"]


def test_status_has_the_shape_that_tools_rely_on(server):
    status = server.status()
    assert {"version", "pid", "uptime_s", "dispatchers", "pools"} <= set(status)
    assert {"pid", "connections"} <= set(status["dispatchers"][0])
    for pool in status["pools"]:
        assert {"name", "state", "queue", "queue_max", "in_hand", "served", "restarts",
                "workers"} <= set(pool)
        for worker in pool["workers"]:
            assert {"index", "pid", "state", "generation", "last_seen_ms", "served",
                    "rss_bytes", "requests"} <= set(worker)
            assert worker["rss_bytes"] > 0


def test_status_shows_the_request_in_hand(server):
    with server.client() as client:
        client.send(b"GET /sleep/400 HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.1)
        held = [request for worker in server.status()["pools"][0]["workers"]
                for request in worker["requests"]]
        assert [(r["method"], r["path"]) for r in held] == [("GET", "/sleep/400")]
        assert held[0]["age_ms"] >= 50
        assert client.answer().status == 200


def test_status_shows_a_request_whose_path_is_no_text(start):
    server = start("--workers", "1")
    worker = server.workers()[0]
    os.kill(worker, signal.SIGSTOP)
    with server.client() as client:
        client.send(b"GET /tag/%FF%22%C3%A9 HTTP/1.1\r\nHost: x\r\n\r\n")
        held = wait_for(lambda: server.status()["pools"][0]["workers"][0]["requests"])
        assert (held[0]["method"], held[0]["path"]) == ("GET", "/tag/\ufffd\"\u00e9")
        os.kill(worker, signal.SIGCONT)
        assert client.answer().status == 200


def test_built_in_pages_answer_while_every_worker_is_busy(server):
    clients = [server.client() for _ in range(4)]
    for client in clients:
        client.send(b"GET /sleep/600 HTTP/1.1\r\nHost: x\r\n\r\n")
    time.sleep(0.1)
    began = time.monotonic()
    for path in ("/status", "/health", "/live", "/ready", "/local/hello"):
        assert server.get(path).status == 200
    assert time.monotonic() - began < 0.3
    for client in clients:
        assert client.answer().status == 200
        client.socket.close()
