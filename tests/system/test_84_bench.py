# SPDX-License-Identifier: MIT
"""The benchmark loses nothing that it measured, says what it could not, and leaves nothing
behind. What it does with wrk's figures is seen with a program that only says some."""
import contextlib
import json
import os
import resource
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


def bench(here, *arguments, **options):
    done = subprocess.run(["/usr/bin/python3", os.path.join(BENCH, "bench.py"), "--rounds", "1",
                           "--seconds", "1", "--json", here / "found", *arguments],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=120, check=False, **options)
    with contextlib.suppress(FileNotFoundError):
        return done, json.loads((here / "found").read_text())
    return done, None


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
    """As leader of a session, of which nothing outlives the test. A shell lets what it begins in
    the background ignore SIGINT, and that would be left so."""
    with subprocess.Popen(["/usr/bin/env", "--default-signal=INT,HUP", "/usr/bin/python3",
                           os.path.join(BENCH, command[0]), *command[1:]],
                          start_new_session=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            for pid in session(process.pid):
                os.kill(pid, signal.SIGKILL)


def test_who_fails_is_noted_and_the_others_are_measured(here):
    wrk = here / "bin" / "wrk"
    wrk.write_text(WRK.replace("*/broken*", "*/local/hello*"))
    done, found = bench(here, "--only", "crew /local", "crew, 1 worker", "--loads", "c1", "c64")
    assert done.returncode == 1
    assert done.stdout.count("failed in 1 of 1 rounds: wrk: it broke") == 2, done.stdout
    assert len(found["loads"]) == 2
    for by_server in found["loads"].values():
        assert by_server["crew /local/hello"][0]["failure"] == "wrk: it broke"
        assert by_server["crew, 1 worker"][0]["rps"] == 1000


@pytest.mark.parametrize("says", ["echo something else", "echo figures 0 1 0 0 0 0 9 0 0"])
def test_what_is_no_figure_is_a_failure(here, says):
    (here / "bin" / "wrk").write_text(WRK.replace(FIGURES, says))
    done, found = bench(here, "--only", "crew, 1 worker", "--loads", "c1")
    assert done.returncode == 1
    assert "failure" in found["loads"]["c1: 1 connection"]["crew, 1 worker"][0], done.stdout


def test_a_server_that_ends_under_a_load_is_a_failure(here, monkeypatch):
    monkeypatch.syspath_prepend(BENCH)
    import servers
    server = servers.Server("it", [["/usr/bin/python3", "-m", "http.server", "--bind",
                                    "127.0.0.1", "{port}"]])
    with pytest.raises(RuntimeError, match="it ended under the load"):
        with server.running() as (_, pids, _):
            pid = pids()[0]
            os.kill(pid, signal.SIGKILL)
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def test_ratios_are_within_a_round(here, monkeypatch, capsys):
    """Even if the reference failed in one of them."""
    monkeypatch.syspath_prepend(BENCH)
    import report
    import results
    found = results.Results({"rounds": 3}, str(here / "found"), "it")
    rows = found.begin("c1: 1 connection", ["one", "it"])
    for number, one, its in ((1, 30, 10), (2, 50, None), (3, 90, 45)):
        found.measure("c1: 1 connection", "one", number, lambda: {"cpu_us": one, "stolen": 0})
        found.measure("c1: 1 connection", "it", number, lambda: {"cpu_us": its / 1, "stolen": 0})
    assert not found.left_out and not found.complete()
    written = json.loads((here / "found").read_text())["loads"]["c1: 1 connection"]
    assert [row["ratios"] for row in written["one"]] == [{"cpu_us": 3}, {}, {"cpu_us": 2}]
    assert "unsupported operand" in written["it"][1]["failure"]
    text = report.table("c1", rows, "it")
    assert "2.50 (2.00-3.00)" in text and "failed in 1 of 3 rounds: unsupported" in text
    assert "round 3, c1, one" in capsys.readouterr().err


def test_it_is_complete_with_all_rounds_of_all(here, monkeypatch):
    """And what fails when it is measured again has failed."""
    monkeypatch.syspath_prepend(BENCH)
    import results
    found = results.Results({})
    rows = found.begin("c1", ["one", "it"])
    found.measure("c1", "one", 1, lambda: {"cpu_us": 1, "stolen": 0})
    assert not found.complete()
    found.measure("c1", "it", 1, lambda: {"cpu_us": 1, "stolen": 0, "failed": 3})
    assert found.complete()
    tries = iter([{"cpu_us": 1, "stolen": 0.5}])
    found.measure("c1", "it", 2, lambda: next(tries))
    assert "failure" in rows["it"][1] and not found.complete()


def test_it_says_what_was_measured(here):
    done, found = bench(here, "--only", "crew, 1 worker", "--loads", "c1")
    assert done.returncode == 0, done.stdout
    about = found["about"]
    assert about["rounds"] == about["seconds"] == about["wrk_threads"] == 1
    assert "crew" in about["versions"]["sampler"]
    assert all(about[key] for key in ("date", "kernel", "processor", "processors"))


def test_without_wrk_nothing_is_measured(here):
    (here / "bin" / "wrk").unlink()
    done, found = bench(here, env={**os.environ, "PATH": str(here / "bin")})
    assert done.returncode == 1
    assert "wrk is not there" in done.stdout and found is None


def test_a_server_that_is_named_and_not_there(here):
    done, found = bench(here, "--only", "kore", "crew, 1 worker", "--loads", "c1",
                        env={**os.environ, "PATH": str(here / "bin")})
    assert done.returncode == 1
    assert "left out: kore: no kore" in done.stdout and list(found["left_out"]) == ["kore"]
    assert found["loads"]["c1: 1 connection"]["crew, 1 worker"][0]["rps"] == 1000


def test_nobody_is_measured(here):
    done, found = bench(here, "--only", "no such server")
    assert done.returncode == 1 and found["loads"] == {}


def test_few_descriptors(here):
    """The limit is raised, if it can be; what takes more is left out."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    done, found = bench(here, "--only", "crew, 2 workers", "--loads", "c1", "events",
                        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard)))
    assert done.returncode == 0, done.stdout
    assert len(found["loads"]) == 2
    done, found = bench(here, "--only", "crew, 2 workers", "--loads", "c1", "events",
                        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (512, 512)))
    assert done.returncode == 1
    assert list(found["left_out"]) == ["events"] and len(found["loads"]) == 1


@pytest.mark.parametrize("numbers", [[signal.SIGTERM], [signal.SIGHUP],
                                     [signal.SIGINT, signal.SIGINT]])
def test_a_signal_ends_it_with_what_was_measured(here, numbers):
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
    found = json.loads((here / "found").read_text())
    assert found["loads"]["c1: 1 connection"]["crew, 1 worker"][0]["rps"] == 1000


@pytest.mark.parametrize("command", [["slices.py", "--connections", "4", "", "--loop epoll"],
                                     ["supervise.py", "--children", "3"],
                                     ["soak.py", "--log", "soak.log"]])
def test_a_signal_ends_the_others(here, command, monkeypatch):
    monkeypatch.chdir(here)
    with started(*command) as process:
        wait_for(lambda: len(session(process.pid)) > 3, 30, "what it starts")
        process.terminate()
        assert process.wait(60) == 128 + signal.SIGTERM
        assert session(process.pid) == []
    assert os.listdir(here / "temporary") == []
    assert (here / "soak.log").exists() == (command[0] == "soak.py")


VALGRIND = """#!/bin/sh
for word; do case "$word" in --callgrind-out-file=*) out=${word#*=}; esac; times=$word; done
cat > "${out%.%p}.$$" <<END
fn=steady
1 $((times * 100))
fn=now_and_then
1 $((20000 - times * 10))
END
"""


def test_instructions_are_those_of_all_functions(tmp_path, monkeypatch):
    """Also of those that took less in the longer run; and each part that was noted must be there."""
    micro = tmp_path / "build" / "bench" / "micro"
    micro.mkdir(parents=True)
    for path, text in ((tmp_path / "valgrind", VALGRIND), (micro / "way", "#!/bin/sh\necho one\n"),
                       (micro / "micro", "#!/bin/sh\necho two\n")):
        path.write_text(text)
        path.chmod(0o755)
    shutil.copy(os.path.join(BENCH, "micro", "count.py"), tmp_path / "count.py")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def count(*arguments):
        return subprocess.run(["/usr/bin/python3", tmp_path / "count.py", "--build",
                               tmp_path / "build", *arguments], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=60, check=False)

    assert count("--write").returncode == 0
    [noted] = json.loads((tmp_path / "instructions.json").read_text()).values()
    assert noted["one"] == noted["two"] == {"instructions": 90, "functions": {"steady": 100}}
    assert "2 passed, 0 failed" in count().stdout
    (micro / "micro").write_text("#!/bin/sh\n")
    done = count()
    assert done.returncode == 1 and "1 passed, 1 failed" in done.stdout
    assert "two" in done.stdout and "no longer there" in done.stdout


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
