# SPDX-License-Identifier: MIT
"""Groups without HTTP in a server: they run beside its pools, and disturb nobody."""
import os
import pathlib
import re
import resource
import signal
import subprocess
import tempfile

import pytest

from conftest import BUILD, Server, is_alive, wait_for

PROGRAM = os.path.join(BUILD, "tests", "mixed")
CLASSES = ["process", "thread"]


@pytest.fixture
def mixed(tmp_path):
    servers = []

    def starter(*arguments, what="", **options):
        servers.append(Server(str(tmp_path), arguments, {"MIXED": what}, program=PROGRAM,
                              **options))
        return servers[-1]

    yield starter
    for server in servers:
        server.stop()


def refused(what, *arguments):
    return subprocess.run([PROGRAM, "--listen", "127.0.0.1:0", *arguments], capture_output=True,
                          text=True, timeout=30, stdin=subprocess.DEVNULL, check=False,
                          env={**os.environ, "MIXED": what})


def group(server, name):
    found = [one for one in server.status()["groups"] if one["name"] == name][0]
    server.known.update(child["pid"] for child in found["children"] if child["pid"])
    return found


def child(server, name):
    """The one that is ready, once there is one alone."""
    def ready():
        children = group(server, name)["children"]
        return len(children) == 1 and children[0]["state"] == "ready" and children[0]
    return wait_for(ready, 15, f"a child of {name}")


@pytest.mark.parametrize("kind", CLASSES)
def test_they_run_beside_the_pool_and_stop_after_it(mixed, kind):
    server = mixed("--worker-class", kind)
    assert [one["name"] for one in server.status()["groups"]] == ["shell", "ticks"]
    ticks = child(server, "ticks")
    shell = child(server, "shell")
    assert (ticks["generation"], ticks["index"]) == (1, 0)
    wait_for(lambda: child(server, "ticks")["status"] == "ticking")
    wait_for(lambda: re.search(r"info +ticks\[0\] \d+: ticks begins with arguments, ", server.log()))
    wait_for(lambda: re.search(r"info +shell\[0\] \d+: shell begins with words\n", server.log()))
    with open(f"/proc/{shell['pid']}/comm", encoding="ascii") as file:
        assert file.read() == "sh\n"
    assert group(server, "ticks")["state"] == group(server, "shell")["state"] == "ready"
    assert server.get("/hello").body == b"hello"
    assert len(server.workers()) == 2
    assert server.stop() == 0
    log = server.log()
    order = [log.rindex(text) for text in
             (": the worker ends\n", ": ticks ends\n", ": shell ends\n")]
    assert order == sorted(order)


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("name", ["ticks", "shell"])
def test_one_that_dies_is_started_again_and_nobody_else(mixed, kind, name):
    server = mixed("--worker-class", kind)
    workers = server.workers()
    other = "shell" if name == "ticks" else "ticks"
    others = child(server, other)["pid"]
    for turn in range(1, 3):
        pid = child(server, name)["pid"]
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda turn=turn: group(server, name)["restarts"] == turn)
        wait_for(lambda turn=turn: child(server, name)["generation"] == turn + 1)
        assert not is_alive(pid)
    assert server.workers() == workers and child(server, other)["pid"] == others
    status = server.status()
    assert status["deaths"] == [] and status["pools"][0]["restarts"] == 0
    assert f"{name}[0] (pid" in server.log()
    # A dispatcher that is started again is told all of it.
    dispatcher = server.dispatcher()
    os.kill(dispatcher, signal.SIGKILL)
    wait_for(lambda: server.dispatcher() != dispatcher, what="another dispatcher")
    wait_for(lambda: group(server, name)["restarts"] == 2)
    assert server.status()["deaths"] == []


@pytest.mark.parametrize("kind", CLASSES)
def test_a_reload_replaces_them_too_but_not_that_of_a_pool(mixed, kind):
    server = mixed("--worker-class", kind)
    pids = {name: child(server, name)["pid"] for name in ("ticks", "shell")}
    workers = server.workers()
    server.process.send_signal(signal.SIGHUP)
    for name, pid in pids.items():
        wait_for(lambda name=name: child(server, name)["generation"] == 2)
        assert not is_alive(pid)
        assert group(server, name)["restarts"] == 0
    if kind == "process":
        wait_for(lambda: not set(workers) & set(server.workers()))
    server.process.send_signal(signal.SIGTTIN)
    wait_for(lambda: len(server.status()["pools"][0]["workers"]) == 3)
    assert [len(one["children"]) for one in server.status()["groups"]] == [1, 1]


def test_one_that_fails_again_and_again_disturbs_no_pool(mixed):
    server = mixed(what="flaps")
    workers = server.workers()
    wait_for(lambda: group(server, "flaps")["state"] == "degraded", 20)
    assert group(server, "ticks")["state"] == "ready"
    assert server.get("/ready").status == server.get("/hello").status == 200
    assert server.workers() == workers
    dispatcher = server.dispatcher()
    os.kill(dispatcher, signal.SIGKILL)
    wait_for(lambda: server.dispatcher() != dispatcher, what="another dispatcher")
    wait_for(lambda: group(server, "flaps")["state"] == "degraded")
    wait_for(lambda: server.status()["pools"][0]["state"] == "ready")
    assert server.workers() == workers
    assert server.stop() == 0


def test_threads(mixed):
    server = mixed(what="threads")
    wait_for(lambda: [one["state"] for one in group(server, "threads")["children"]] ==
             ["ready", "ready"])
    children = group(server, "threads")["children"]
    assert children[0]["pid"] == children[1]["pid"]
    wait_for(lambda: "threads begins with threads" in server.log())


def test_one_that_never_comes_up_ends_the_server():
    done = refused("never")
    assert done.returncode == 3
    assert "never: none of its 1 children ever came up: giving up" in done.stderr
    assert "last line of never[0]: it never comes up" in done.stderr
    assert "no child of a group" in done.stderr


@pytest.mark.parametrize("what,says", [
    ("dispatcher", 'group 2 is called "dispatcher"'),
    ("app", 'group 2 and pool 0 are both called "app"'),
    ("ticks", 'groups 1 and 2 have the same name, "ticks"'),
    ("no function", 'group "empty" has no function to `run`'),
    ("no descriptor", "preserve_fds[0] is 999, which is no open descriptor"),
    ("too many", "more than 32 groups")])
@pytest.mark.parametrize("arguments", [[], ["--daemon"]])
def test_wrong_tables_are_refused(what, says, arguments):
    done = refused(what, *arguments)
    assert done.returncode == 2 and not done.stdout
    assert says in done.stderr
    assert len(done.stderr.strip().split("\n")) == 1


@pytest.fixture
def folder():
    """One that another user may enter."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o711)
        yield pathlib.Path(name)


def test_of_a_daemon_names_mean_what_they_meant(folder):
    """Its directory is another one; and the files of streams are opened before it is another
    user, who could not."""
    script = folder / "here.sh"
    script.write_text("#!/bin/sh\npwd\nexec sleep 1000\n")
    script.chmod(0o755)
    user = ["--user", "nobody"] if os.getuid() == 0 else []
    done = subprocess.run(
        [PROGRAM, "--listen", "127.0.0.1:0", "--daemon", "--pidfile", "pid", "--log-file", "log",
         *user], cwd=folder, env={**os.environ, "MIXED": "here"}, capture_output=True, text=True,
        timeout=30, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 0, done.stderr
    pid = int((folder / "pid").read_text())
    try:
        wait_for(lambda: "/\n" in (folder / "here.out").read_text(), what="its line")
        wait_for(lambda: "ticks begins" in (folder / "log").read_text())
        if user:
            assert os.stat(folder / "here.out").st_uid == os.stat(f"/proc/{pid}").st_uid != 0
    finally:
        if is_alive(pid):
            os.kill(pid, signal.SIGTERM)
        wait_for(lambda: not is_alive(pid), 15, "its end")
    assert ": shell ends" in (folder / "log").read_text()


def test_programs_get_the_limit_of_descriptors_that_was_found(mixed):
    """Those that use select(2) rely on it; the dispatcher and the workers use all there are."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    server = mixed(before=["prlimit", f"--nofile=600:{most}"])
    pids = [child(server, "shell")["pid"], child(server, "ticks")["pid"]]

    def limit(pid):
        return resource.prlimit(pid, resource.RLIMIT_NOFILE)[0]
    wait_for(lambda: [limit(pid) for pid in pids] == [600, 600])
    assert [limit(pid) for pid in (server.dispatcher(), *server.workers())] == [most] * 3
