# SPDX-License-Identifier: MIT
"""The benchmark leaves nothing behind, and is of what was built last. What it does with wrk's figures is seen with a program that only says some."""
import contextlib
import os
import shutil
import signal
import subprocess

import pytest

from conftest import BUILD, is_alive, wait_for

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
BENCH = os.path.join(ROOT, "bench")

FIGURES = "echo figures 1000 1000000 100000 100 200 300 0 0 0"
WRK = f"""#!/bin/sh
case "$* " in
*/broken*) echo "it broke" >&2; exit 1 ;;
*-c4*) : > "$HERE/hangs"; exec sleep 1000 ;;
*) {FIGURES} ;;
esac
"""


@pytest.fixture(name="here")
def fixture_here(tmp_path, monkeypatch):
    """A folder with a wrk that comes first, and nothing else that counts as a tool."""
    (tmp_path / "temporary").mkdir()
    (tmp_path / "bin").mkdir()
    wrk = tmp_path / "bin" / "wrk"
    wrk.write_text(WRK)
    wrk.chmod(0o755)
    monkeypatch.setenv("HERE", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setenv("CREW_BUILD", os.path.abspath(BUILD))
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return tmp_path


def session(pid):
    """The living processes of a session."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if os.getsid(int(name)) == pid and is_alive(int(name)):
                found.append(int(name))
    return found


@contextlib.contextmanager
def started(*command):
    """As leader of a session, of which nothing outlives the test."""
    with subprocess.Popen(["/usr/bin/python3", os.path.join(BENCH, command[0]), *command[1:]],
                          start_new_session=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            for pid in session(process.pid):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("numbers", [[signal.SIGTERM], [signal.SIGHUP],
                                     [signal.SIGINT, signal.SIGINT]])
def test_a_signal_ends_it(here, numbers):
    """To bench alone, as kill(1) does: the others of its session must be ended by it."""
    with started("bench.py", "--only", "crew, 1 worker", "--loads", "c1", "c4", "--rounds", "1",
                 "--seconds", "1", "--json", here / "found") as process:
        wait_for((here / "hangs").exists, 30, "a load that hangs")
        assert len(session(process.pid)) > 2
        for number in numbers:
            process.send_signal(number)
        assert process.wait(20) == 128 + numbers[0]
        assert session(process.pid) == []
    assert os.listdir(here / "temporary") == []


@pytest.mark.parametrize("command", [["slices.py", "--connections", "4", "", "--loop epoll"],
                                     ["supervise.py", "--children", "3"], ["soak.py"]])
def test_a_signal_ends_the_others(here, command):
    with started(*command) as process:
        wait_for(lambda: len(session(process.pid)) > 3, 30, "what it starts")
        process.terminate()
        assert process.wait(60) == 128 + signal.SIGTERM
        assert session(process.pid) == []
    assert os.listdir(here / "temporary") == []


@pytest.mark.parametrize("setup, build, code, runs", [(0, 0, 0, True), (1, 0, 0, True),
                                                      (0, 1, 1, False)])
def test_the_script_builds_even_if_nothing_can_be_installed(tmp_path, setup, build, code, runs):
    for path, text in (("script/setup", f"#!/bin/sh\nexit {setup}\n"),
                       ("script/build", f"#!/bin/sh\n: > built; exit {build}\n"),
                       ("bench/bench.py", "print('it runs')\n")):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
        (tmp_path / path).chmod(0o755)
    shutil.copy(os.path.join(ROOT, "script", "bench"), tmp_path / "script" / "bench")
    done = subprocess.run([tmp_path / "script" / "bench"], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, check=False)
    assert done.returncode == code and (tmp_path / "built").exists()
    assert ("it runs" in done.stdout) == runs
    assert bool(done.stderr) == bool(setup)
