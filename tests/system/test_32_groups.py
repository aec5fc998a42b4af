# SPDX-License-Identifier: MIT
"""Groups of routes that inherit from each other, and the settings of a pool."""
import json
import os
import re
import subprocess
import threading

import pytest

from conftest import BUILD, Server, wait_for

PROGRAM = os.path.join(BUILD, "tests", "grouped")


@pytest.fixture
def grouped(tmp_path):
    """A function that starts the program; all are stopped after the test."""
    servers = []

    def starter(*arguments, **environment):
        folder = tmp_path / str(len(servers))
        folder.mkdir()
        servers.append(Server(str(folder), arguments, environment, PROGRAM))
        return servers[-1]

    yield starter
    for server in servers:
        server.stop()


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """One for all tests that only ask it."""
    running = Server(str(tmp_path_factory.mktemp("grouped")), program=PROGRAM)
    yield running
    assert running.stop() == 0


def run(*arguments, **environment):
    """A start that fails."""
    return subprocess.run([PROGRAM, "--listen", "127.0.0.1:0", *arguments], timeout=30,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          env={**os.environ, **environment}, check=False)


def ask(server, path, method="GET"):
    with server.client() as client:
        answer = client.request(method, path)
        assert answer.status == 200, (method, path, answer.status, answer.body)
        return json.loads(answer.body)


@pytest.mark.parametrize("method,path,handler", [
    ("GET", "/api/team", "list"), ("GET", "/api/team/", "list"), ("GET", "/api/team/7", "get"),
    ("PUT", "/api/team/7", "put"), ("DELETE", "/api/team/7", "delete"),
    ("GET", "/api/user", "list"), ("GET", "/api/user/7", "get_user"),
    ("PUT", "/api/user/7", "put"), ("DELETE", "/api/user/7", "delete"),
    ("GET", "/api/user/admin", "list"), ("GET", "/api/user/admin/7", "get_user"),
    ("POST", "/api/user/admin/7/rights", "give_rights"),
    ("POST", "/en/page/7", "get"), ("GET", "/plain", "get"), ("GET", "/local", "get")])
def test_who_answers(shop, method, path, handler):
    answer = ask(shop, path, method)
    assert answer["handler"] == handler
    assert answer["id"] == (7 if "7" in path else 0)


@pytest.mark.parametrize("path", [
    "/api", "/api/7", "/user", "/user/7", "/team", "/admin", "/api/admin", "/api/admin/7",
    "/7", "/api/user/x", "/api/user/admin/x", "/page/7", "/api/team/7/rights"])
def test_what_has_no_group(shop, path):
    assert shop.get(path).status == 404


def test_parameters_of_a_prefix(shop):
    answer = ask(shop, "/%C3%A9/page/-3")
    assert (answer["language"], answer["id"]) == ("\u00e9", -3)


@pytest.mark.parametrize("method,path,allow", [
    ("PATCH", "/api/team/7", {"GET", "HEAD", "PUT", "DELETE"}),
    ("PATCH", "/api/user/7", {"GET", "HEAD", "PUT", "DELETE"}),
    ("POST", "/api/user", {"GET", "HEAD"}),
    ("DELETE", "/api/user/admin/7", {"GET", "HEAD"}),
    ("PUT", "/api/user/admin/7", {"GET", "HEAD"}),
    ("GET", "/api/user/admin/7/rights", {"POST"})])
def test_other_methods(shop, method, path, allow):
    with shop.client() as client:
        answer = client.request(method, path)
        assert answer.status == 405
        assert set(answer.header("Allow").split(", ")) == allow


def test_each_group_has_its_state(grouped):
    server = grouped()
    paths = ["/api/user/1", "/api/user", "/api/team/1", "/api/user/admin/1", "/api/user/1",
             "/api/user/admin", "/en/page/1", "/plain", "/local"]
    answers = [ask(server, path) for path in paths]
    assert [(answer["maker"], answer["used"]) for answer in answers] == [
        ("resource", 1), ("resource", 2), ("resource", 1), ("admin", 1), ("resource", 3),
        ("admin", 2), (None, 0), (None, 0), (None, 0)]


def told(server, place):
    """What the worker of a place logged, in its order."""
    return re.findall(rf"worker {place}: (set up|torn down|made .*|dropped .*)",
                      server.log().replace(" with db postgres://db", ""))


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_each_worker_has_its_states(grouped, kind):
    server = grouped("--workers", "2", "--worker-class", kind)
    answers = []

    def rest():
        answers.append(ask(server, "/api/user/rest"))

    for _ in range(2):
        threads = [threading.Thread(target=rest) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted((answer["worker"], answer["used"]) for answer in answers) == [
        (0, 1), (0, 2), (1, 1), (1, 2)]
    assert server.stop() == 0
    for place in (0, 1):
        assert told(server, place) == [
            "set up", "made a state by resource", "made a state by resource",
            "made a state by admin", "dropped the state by admin, used 0 times",
            "dropped the state by resource, used 0 times",
            "dropped the state by resource, used 2 times", "torn down"]


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_a_setup_that_fails_ends_the_worker(kind):
    done = run("--worker-class", kind, GROUPED_FAIL="42")
    assert done.returncode == 3, done.stderr
    assert "setup of group admin failed with code 42" in done.stderr
    assert re.search(r"died: .*\b42\b", done.stderr), done.stderr
    # What was set up before it is torn down, each time.
    said = re.findall(r"set up|made|setup of group|dropped|torn down", done.stderr)
    assert said[:7] == ["set up", "made", "made", "setup of group", "dropped", "dropped",
                        "torn down"]
    assert said[7] == "set up" # the next try


@pytest.mark.parametrize("name,says", [
    ("circle", 'group "circle": its bases go in a circle, which closes at "circle"'),
    ("no_slash", 'group "no_slash", prefix "api": a prefix begins with a slash'),
    ("names", 'group "names", row 1 ("/b"): two rows of the group have the same name: "a"'),
    ("nothing", 'group "nothing", row 0 ("post"): the row has no handler (.run)'),
    ("pattern", 'group "pattern", row 0 ("GET /{a:date}"), as "GET /x/{a:date}": unknown type'),
    ("twice", 'group "resource", row 0 ("GET /"), inherited by "twice" as "GET /api/user": '
              'the same route stands in the table twice')])
def test_a_wrong_group_is_refused(name, says):
    done = run(GROUPED_WRONG=name)
    assert done.returncode == 2
    assert 'pool 0 ("shop"), ' + says in done.stderr, done.stderr


SETTINGS = """{"limit": 10, "name": "\u00e9t\u00e9", "ratio": 0.1, "on": true,
               "nil": null, "hosts": ["a", "b"]}"""


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_settings_of_both_kinds(grouped, kind):
    server = grouped("--worker-class", kind, GROUPED_JSON=SETTINGS)
    wait_for(lambda: "set up with db postgres://db" in server.log())
    assert json.loads(server.get("/settings").body) == {
        "db": "postgres://db", "limit": "5", "name": "\u00e9t\u00e9", "ratio": 0.1, "on": True,
        "nil": None, "hosts": ["a", "b"]}
    for key, value in (("db", "postgres://db"), ("limit", "5"), ("name", "\u00e9t\u00e9"),
                       ("ratio", "0.1"), ("on", "true")):
        assert server.get("/settings/" + key).body.decode() == value
    for key in ("nil", "hosts", "nothing"):
        assert server.get("/settings/" + key).status == 404
    assert server.get("/local/settings").status == 404


def test_settings_of_one_kind(grouped):
    pairs = grouped()
    assert json.loads(pairs.get("/settings").body) == {"db": "postgres://db", "limit": "5"}
    text = grouped(GROUPED_JSON='{"limit": 10}', GROUPED_PAIRS="")
    assert json.loads(text.get("/settings").body) == {"limit": 10}
    assert text.get("/settings/limit").body == b"10"
    none = grouped(GROUPED_PAIRS="")
    assert json.loads(none.get("/settings").body) == {}
    assert none.get("/settings/limit").status == 404
    assert "set up with db -" in none.log()


def test_settings_outlive_the_worker(grouped):
    server = grouped(GROUPED_JSON=SETTINGS)
    before = server.workers()
    os.kill(before[0], 9)
    assert server.get("/settings/limit").body == b"5"
    assert server.workers() != before


@pytest.mark.parametrize("text,says", [
    ('{"a": 1,\n "b": }', "line 2, column 7: unexpected token near '}'"),
    ('\n ["a"]', "line 2, column 2: settings are an object, not an array"),
    ('"a"', "line 1, column 3: '[' or '{' expected near '\"a\"'"),
    ('{"a": 1} x', "line 1, column 10: end of file expected near 'x'"),
    ('{"a": 1, "a": 2}', "line 1, column 12: duplicate object key near '\"a\"'"),
    ("", "line 1, column 0: '[' or '{' expected near end of file")])
def test_wrong_json_is_refused(text, says):
    done = run(GROUPED_JSON=text)
    assert done.returncode == 2
    assert f'pool 0 ("shop"), settings_json, {says}' in done.stderr, done.stderr
