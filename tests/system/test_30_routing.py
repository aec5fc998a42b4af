# SPDX-License-Identifier: MIT
"""Where a request goes: routes, parameters, files."""
import json

import pytest


@pytest.mark.parametrize("path,amount", [("/price/9.5", 9.5), ("/price/3", 3), ("/price/-0.25", -0.25)])
def test_float_parameters(server, path, amount):
    assert json.loads(server.get(path).body) == {"amount": amount}


@pytest.mark.parametrize("path", [
    "/nope", "/price/abc", "/price/1e5", "/price/nan", "/bytes/1.5", "/bytes/99999999999999999999",
    "/hello/more", "/apix", "/api/nothing", "/sleep/", "/../hello", "/tag/a/b", "/./hello"])
def test_what_is_not_there(server, path):
    answer = server.get(path)
    assert answer.status == 404
    assert json.loads(answer.body)["error"]
    assert answer.header("Vary") == "Accept", "which a cache must know"


def test_text_parameters_are_decoded(server):
    assert json.loads(server.get("/tag/%C3%A9t%C3%A9%20%26").body) == {"tag": "\u00e9t\u00e9 &"}


def test_slashes_that_mean_nothing(server):
    assert server.get("/hello/").status == 200
    assert server.get("//hello").status == 200


@pytest.mark.parametrize("method,path,allow", [
    ("POST", "/hello", {"GET", "HEAD"}), ("PATCH", "/api/items", {"GET", "HEAD", "POST"}),
    ("PUT", "/api/item/1", {"GET", "HEAD", "DELETE"}), ("POST", "/status", {"GET", "HEAD"}),
    ("POST", "/static/hello.txt", {"GET", "HEAD"}), ("BREW", "/hello", {"GET", "HEAD"})])
def test_other_methods(server, method, path, allow):
    with server.client() as client:
        answer = client.request(method, path)
        assert answer.status == 405
        assert set(answer.header("Allow").split(", ")) == allow
        assert client.get("/hello").status == 200


def test_any_method(server):
    with server.client() as client:
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"):
            assert client.request(method, "/echo").status == 200


def test_options_of_the_server_as_a_whole(server):
    with server.client() as client:
        for _ in range(2):
            answer = client.request("OPTIONS", "*")
            assert answer.status == 204 and answer.body == b""
        assert client.get("/hello").status == 200


def test_a_file(server):
    answer = server.get("/static/hello.txt")
    assert answer.status == 200 and len(answer.body) > 2048
    assert answer.header("Content-Type") == "text/plain; charset=utf-8"
    with server.client() as client:
        again = client.get("/static/hello.txt", headers=[("If-None-Match", answer.header("ETag"))])
        assert again.status == 304 and again.header("ETag") == answer.header("ETag")
        again = client.get("/static/hello.txt",
                           headers=[("If-Modified-Since", answer.header("Last-Modified"))])
        assert again.status == 304
        assert client.get("/static/").header("Content-Type").startswith("text/html")


BEFORE = "Mon, 01 Jan 2001 00:00:00 GMT"
LATER = "Mon, 01 Jan 2035 00:00:00 GMT"


def test_a_file_that_the_client_has_is_not_sent_again(server):
    etag = server.get("/static/hello.txt").header("ETag")
    with server.client() as client:
        for conditions, status in (
                ([("If-Modified-Since", BEFORE)], 200), ([("If-Modified-Since", LATER)], 304),
                ([("If-Modified-Since", "today")], 200),
                ([("If-None-Match", '"x"')], 200), ([("If-None-Match", "*")], 304),
                ([("If-None-Match", '"*"')], 200), ([("If-None-Match", f'"x", {etag}')], 304),
                ([("If-None-Match", f"W/{etag}")], 304), ([("If-None-Match", f"{etag}x")], 200),
                ([("If-None-Match", '"x"'), ("If-None-Match", etag)], 304),
                ([("If-None-Match", etag), ("If-None-Match", '"x"')], 304),
                ([("If-None-Match", '"x"'), ("If-Modified-Since", LATER)], 200),
                ([("If-None-Match", etag), ("If-Modified-Since", BEFORE)], 304)):
            got = client.get("/static/hello.txt", headers=conditions)
            assert got.status == status, conditions
            assert got.header("ETag") == etag


def test_a_part_of_another_file_is_none(server):
    answer = server.get("/static/hello.txt")
    etag, modified = answer.header("ETag"), answer.header("Last-Modified")
    with server.client() as client:
        for condition, status in ((("If-Match", '"x"'), 412), (("If-Match", etag), 206),
                                  (("If-Match", f'"x", {etag}'), 206), (("If-Match", "*"), 206),
                                  (("If-Match", f"W/{etag}"), 412),
                                  (("If-Match", f"W/{etag}, {etag}"), 206),
                                  (("If-Unmodified-Since", BEFORE), 412),
                                  (("If-Unmodified-Since", modified), 206),
                                  (("If-Unmodified-Since", "today"), 206),
                                  (("If-Range", '"x"'), 200), (("If-Range", etag), 206),
                                  (("If-Range", f"W/{etag}"), 200),
                                  (("If-Range", BEFORE), 200), (("If-Range", modified), 206),
                                  (("If-Range", LATER), 200)):
            got = client.get("/static/hello.txt", headers=[("Range", "bytes=0-9"), condition])
            assert got.status == status, condition
            assert status != 206 or got.body == answer.body[:10]
            assert status != 200 or got.body == answer.body
            assert len([name for name, _ in got.headers if name == "Content-Type"]) == 1
        got = client.get("/static/hello.txt", headers=[("If-Match", '"x"'), ("If-Match", etag)])
        assert got.status == 200
        got = client.request("HEAD", "/static/hello.txt", headers=[("Range", "bytes=0-9")])
        assert (got.status, got.header("Content-Length")) == (200, str(len(answer.body)))


@pytest.mark.parametrize("wanted,status,first,last", [
    ("bytes=0-9", 206, 0, 10), ("bytes=100-", 206, 100, None), ("bytes=-5", 206, -5, None),
    ("bytes=5-999999", 206, 5, None), ("bytes=0-1,5-6", 200, 0, None), ("pages=1", 200, 0, None),
    ("bytes=999999-", 416, None, None), ("bytes=-99999999", 206, 0, None),
    ("bytes=-0", 416, None, None), ("bytes=9-5", 200, 0, None), ("bytes=-", 200, 0, None),
    ("bytes=9-9", 206, 9, 10), (f"bytes={1 << 64}-", 200, 0, None)])
def test_ranges(server, wanted, status, first, last):
    whole = server.get("/static/hello.txt").body
    with server.client() as client:
        answer = client.get("/static/hello.txt", headers=[("Range", wanted)])
        assert answer.status == status
        if status == 416:
            assert answer.header("Content-Range") == f"bytes */{len(whole)}"
        else:
            assert answer.body == whole[first:last]
            part = range(len(whole))[first:last]
            assert answer.header("Content-Range") == (
                f"bytes {part[0]}-{part[-1]}/{len(whole)}" if status == 206 else None)
        assert client.get("/hello").status == 200


def test_an_empty_file_has_no_part(start, tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "empty").touch()
    server = start(SAMPLER_STATIC=str(tmp_path / "root"))
    with server.client() as client:
        assert client.get("/static/empty").status == 200
        for wanted in ("bytes=-5", "bytes=0-", "bytes=0-0"):
            answer = client.get("/static/empty", headers=[("Range", wanted)])
            assert (answer.status, answer.header("Content-Range")) == (416, "bytes */0")


@pytest.mark.parametrize("path", [
    "/static/../sampler.c", "/static/%2e%2e/sampler/main.c", "/static/..%2fsampler/main.c",
    "/static//etc/passwd", "/static/%2fetc/passwd", "/static/.hidden", "/static/nothing",
    "/static/hello.txt/", "/static/hello.txt%00.html"])
def test_nothing_above_the_root_is_served(server, path):
    assert server.get(path).status in (400, 404)


def test_of_what_is_hidden_only_the_well_known_is_served(start, tmp_path):
    for name in (".well-known/security.txt", ".well-known/.secret", ".git/config",
                 "deep/.well-known/x", ".well-knownx"):
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    server = start(SAMPLER_STATIC=str(tmp_path / "root"))
    assert server.get("/static/.well-known/security.txt").body == b".well-known/security.txt"
    for name in (".well-known/.secret", ".git/config", "deep/.well-known/x", ".well-knownx",
                 ".well-known/../.git/config"):
        assert server.get(f"/static/{name}").status == 404


def test_a_link_out_of_the_root_is_not_followed(start, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "out").symlink_to("/etc")
    (root / "file").write_text("inside")
    (root / "deep").mkdir()
    server = start(SAMPLER_STATIC=str(root))
    assert server.get("/static/file").body == b"inside"
    assert server.get("/static/out/passwd").status == 404
    answer = server.get("/static/deep")
    assert (answer.status, answer.header("Location")) == (301, "/static/deep/")
    assert server.get("/static/deep/").status == 404
