# SPDX-License-Identifier: MIT
"""The supervisor without HTTP: groups, callbacks, signals, clocks, limits. Real processes,
real signals."""
import os
import random
import re
import resource
import signal
import subprocess
import time

import pytest

from conftest import children_of, is_alive, wait_for
from supervised import EARLY, EXIT_CODES, SUPERVISED, fds_of, status_of
from supervised import supervised  # noqa: F401

KINDS = ["process", "thread"]


def test_a_group_from_start_to_stop(supervised):
    program = supervised("--count", 3)
    program.wait("ready", 3)
    assert program.stop() == 0
    kinds = [event["event"] for event in program.events]
    assert kinds[0] == "on_start"
    assert kinds[1:4] == ["pre_fork"] * 3
    assert kinds.index("parent_pre_stop") < kinds.index("death")
    assert kinds[-2:] == ["on_shutdown", "eof"]
    assert program.all("parent_pre_stop")[0]["children"] == 3
    deaths = program.all("death")
    assert {(death["cause"], death["code"]) for death in deaths} == {("order", 0)}
    for index in range(3):
        lines = [line for line in program.log().splitlines() if f"kids[{index}]" in line]
        assert [line.rsplit(": ", 1)[1] for line in lines] == [
            f"start one {index}", "start two", f"shutdown {index}"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_each_signal_stops_gracefully(supervised, how, kind):
    program = supervised("--count", 2, "--kind", kind)
    program.wait("ready", 2)
    assert program.stop(how) == 0
    assert program.log().count("shutdown") == 2
    assert all(death["cause"] == "order" for death in program.all("death"))


def test_explicit_ids_add_and_remove(supervised):
    program = supervised("--ids", "3,70,5", "--own-loop")
    program.wait("ready", 3)
    assert sorted(child["index"] for child in program.children()) == [3, 5, 70]
    assert program.command("add 4")[0] == 4
    program.wait("ready", index=4)
    assert program.command("add")[0] == 0
    assert program.command("add 4")[0] == -17  # EEXIST
    program.wait("ready", index=0)
    assert program.command("remove 70")[0] == 0
    gone = program.wait("gone", index=70)
    assert (gone["cause"], gone["argument"]) == ("order", "mine")
    assert program.command(f"remove 3 {signal.SIGKILL.value}")[0] == 0
    gone = program.wait("gone", index=3)
    assert (gone["cause"], gone["signal"]) == ("order", 9)
    assert program.command("remove 99")[0] == -2  # ENOENT
    time.sleep(0.3)
    assert sorted(child["index"] for child in program.children()) == [0, 4, 5]
    assert program.command("stop")[0] == 0
    assert program.process.wait(10) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_ttin_and_ttou(supervised, kind):
    program = supervised("--count", 2, "--kind", kind)
    program.wait("ready", 2)
    program.process.send_signal(signal.SIGTTIN)
    program.wait("ready", index=2)
    for _ in range(2):
        program.process.send_signal(signal.SIGTTOU)
        time.sleep(0.1)
    program.wait("death", 2)
    assert sorted(death["index"] for death in program.all("death")) == [1, 2]
    for _ in range(3):
        program.process.send_signal(signal.SIGTTOU)
        time.sleep(0.05)
    wait_for(lambda: "only one is left" in program.log())
    time.sleep(0.2)
    assert len(program.all("death")) == 2
    assert program.stop() == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_rolling_restart_has_never_fewer_ready(supervised, kind):
    program = supervised("--count", 4, "--kind", kind, "--boot-ms", 50)
    program.wait("ready", 4)
    program.process.send_signal(signal.SIGHUP)
    program.wait("ready", 4, generation=2)
    program.wait("death", 4, generation=1)
    ready = 0
    for event in program.events:
        if event["event"] == "ready":
            ready += 1
        elif event["event"] == "death":
            ready -= 1
            assert ready >= 4, "a child was stopped before its successor was ready"
    assert {death["cause"] for death in program.all("death")} == {"order"}
    if kind == "thread":
        wait_for(lambda: len(program.pids()) == 1, what="the end of the old host")
    assert program.stop() == 0


@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL])
def test_a_reload_that_fails_keeps_the_old(supervised, how):
    program = supervised("--count", 2, "--boot", 600, "--boot-ms", 250, "--own-loop", "--input")
    program.wait("ready", 2)
    # A successor that is stopped as soon as it is born is not ready in time, or it is killed.
    program.process.stdin.write(b"reload\n")
    program.process.stdin.flush()
    program.wait("pre_fork", 3)
    known = {event["pid"] for event in program.all("ready")}
    new = wait_for(lambda: set(program.pids()) - known)
    for pid in new:
        os.kill(pid, how)
    try:
        wait_for(lambda: "the old children stay" in program.log())
    finally:
        for pid in new:
            if is_alive(pid):
                os.kill(pid, signal.SIGCONT)
    assert sorted(child["generation"] for child in program.children())[0] == 1
    assert not [death for death in program.all("death") if death["generation"] == 1]
    assert "starting it again" not in program.log()
    program.command("stop")
    assert program.process.wait(10) == 0


@pytest.mark.parametrize("how,cause,name", [
    (signal.SIGKILL, "signal", "SIGKILL"), (signal.SIGSEGV, "signal", "SIGSEGV"),
    (signal.SIGABRT, "signal", "SIGABRT"), (signal.SIGRTMIN, "exit", "EX_OK"),
    (signal.SIGRTMIN + 1, "exit", "EX_USAGE"), (signal.SIGRTMIN + 15, "exit", "EX_CONFIG")])
def test_a_death_has_its_cause_and_its_name(supervised, how, cause, name):
    program = supervised("--count", 2)
    victim = program.wait("ready", 2)
    time.sleep(0.05)
    os.kill(victim["pid"], how)
    death = program.wait("death")
    assert (death["pid"], death["cause"], death["name"]) == (victim["pid"], cause, name)
    assert death["ready"] and death["rss"] > 100000
    program.wait("ready", generation=2, index=victim["index"])
    assert program.stop() == 0


def test_deaths_are_remembered_with_their_last_lines(supervised):
    program = supervised("--count", 1, "--input", "--own-loop")
    program.wait("ready")
    for number in range(12):
        program.command(f"send 0 say word {number}")
    program.command("send 0 exit 70")
    program.wait("death")
    program.wait("ready", 2)
    events = program.command("deaths")[1]
    assert [event["cause"] for event in events if event["event"] == "death"] == ["exit"]
    last = [line for line in program.other if line.startswith("last: ")]
    assert [line for line in last if "word" in line] == [
        f"last: word {number}" for number in range(2, 12)]
    program.command("stop")
    assert program.process.wait(10) == 0


def test_a_host_that_dies_takes_its_threads_and_all_come_back(supervised):
    program = supervised("--count", 4, "--kind", "thread")
    program.wait("ready", 4)
    host = program.pids()
    assert len(host) == 1
    assert len({event["pid"] for event in program.all("ready")}) == 1
    os.kill(host[0], signal.SIGKILL)
    program.wait("death", 4)
    assert {death["cause"] for death in program.all("death")} == {"host died"}
    assert {death["name"] for death in program.all("death")} == {"SIGKILL"}
    program.wait("ready", 8)
    assert program.pids() != host and len(program.pids()) == 1
    assert program.stop() == 0


def test_a_stale_thread_is_replaced_while_it_drains(supervised):
    program = supervised("--count", 3, "--kind", "thread", "--heartbeat", 500, "--input",
                         "--own-loop", "--stop", 500)
    program.wait("ready", 3)
    program.command("send 0 spin")  # one of the threads reads it
    wait_for(lambda: "is listed as stale" in program.log())
    assert "heartbeat timeout 500 ms" in program.log()
    program.wait("ready", generation=2)
    children = program.children()
    assert sorted(child["state"] for child in children) == ["ready"] * 3 + ["stale"]
    assert len(program.pids()) == 1
    assert not program.all("death")
    program.command("stop")
    assert program.process.wait(20) == 0


def test_too_many_stale_threads_bring_a_new_host(supervised):
    program = supervised("--count", 1, "--kind", "thread", "--heartbeat", 200, "--input",
                         "--own-loop", "--stop", 300)
    program.wait("ready")
    host = program.pids()
    for number in range(3):
        program.command("send 0 spin")
        program.wait("ready", number + 2)
    wait_for(lambda: "too many stale threads" in program.log())
    wait_for(lambda: len(program.pids()) == 1 and program.pids() != host, 10,
             "a new host, and the end of the old one")
    program.command("stop")
    assert program.process.wait(20) == 0


@pytest.mark.parametrize("what,kind", [(signal.SIGSTOP, "process"), (signal.SIGSTOP, "thread"),
                                       (signal.SIGUSR2, "process")])
def test_a_stopped_and_a_looping_child_are_found(supervised, what, kind):
    program = supervised("--count", 2, "--heartbeat", 400, "--kind", kind)
    victim = program.wait("ready", 2)
    os.kill(victim["pid"], what)
    death = program.wait("death", seconds=5, pid=victim["pid"])
    assert (death["cause"], death["signal"]) == ("stuck", 9)
    program.wait("ready", 3)
    assert "heartbeat timeout 400 ms" in program.log()
    assert program.stop() == 0


@pytest.mark.skipif(bool(os.environ.get("CREW_CFLAGS")), reason="a sanitizer is to be loaded first")
@pytest.mark.parametrize("early,says", [
    (signal.SIGHUP, ""), (signal.SIGTTIN, "one more"), (signal.SIGTTOU, ""),
    (signal.SIGUSR1, "signal SIGUSR1: reopening"), (signal.SIGUSR2, "means nothing here; HUP")])
def test_a_signal_while_it_starts_is_done_then(supervised, early, says):
    """It ended the supervisor, or stopped it, if it came before signals were taken."""
    program = supervised("--count", 1, env={**os.environ, **EARLY, "EARLY_SIGNAL": str(int(early))})
    program.wait("ready")
    wait_for(lambda: says in program.log(), what=f"a line with {says!r}")
    assert program.process.poll() is None
    assert program.stop() == 0


def test_a_signal_that_means_nothing_ends_nobody(supervised):
    """It does in nginx and gunicorn."""
    program = supervised("--count", 1)
    child = program.wait("ready")["pid"]
    program.process.send_signal(signal.SIGUSR2)
    wait_for(lambda: "signal SIGUSR2" in program.log() or program.process.poll() is not None)
    assert "means nothing here; HUP" in program.log()
    assert program.pids() == [child]
    assert program.stop() == 0
    # Who takes it is not taken it from.
    program = supervised("--count", 1, wrapper=["/bin/sh", "-c", 'trap "" USR2; exec "$@"', "sh"])
    program.wait("ready")
    program.process.send_signal(signal.SIGUSR2)
    assert program.stop() == 0
    assert "SIGUSR2" not in program.log()
    program = supervised("--count", 1, "--usr2")
    program.wait("ready")
    for number in range(1, 3):
        program.process.send_signal(signal.SIGUSR2)
        wait_for(lambda: program.other.count("own USR2") == number)
    assert program.stop() == 0
    assert "SIGUSR2" not in program.log()


def test_a_long_boot_is_not_taken_for_a_stuck_child(supervised):
    program = supervised("--count", 2, "--heartbeat", 200, "--boot-ms", 1500)
    program.wait("ready", 2)
    time.sleep(0.5)
    assert not program.all("death")
    assert program.stop() == 0


def test_a_boot_that_takes_too_long_is_ended(supervised):
    program = supervised("--count", 1, "--boot", 300, "--boot-ms", 60000)
    death = program.wait("death")
    assert (death["cause"], death["ready"]) == ("boot timeout", False)
    assert "boot timeout of 300 ms" in program.log()
    assert program.process.wait(20) == 3
    assert "giving up" in program.log() and "last line of kids[0]: start two" in program.log()


@pytest.mark.parametrize("kind", KINDS)
def test_a_group_that_never_comes_up_ends_with_3(supervised, kind):
    program = supervised("--count", 2, "--fail", "--kind", kind)
    assert program.process.wait(20) == 3
    assert {death["name"] for death in program.all("death") if death["cause"] != "order"} == {
        "EX_CONFIG"}


def test_few_may_boot_at_once(supervised):
    program = supervised("--count", 6, "--boot-ms", 150, "--max-starting", 2)
    program.wait("ready", 6)
    booting = most = 0
    for event in program.events:
        booting += {"pre_fork": 1, "ready": -1}.get(event["event"], 0)
        most = max(most, booting)
    assert most == 2
    assert program.stop() == 0


@pytest.mark.parametrize("order,flags,cause", [
    ("leak 64", ["--max-rss", 40], "memory limit"),
    ("open 60", ["--max-fds", 50], "descriptor limit"),
    ("open 95", ["--nofile", 100], "descriptor limit")])
def test_memory_and_descriptors_have_limits(supervised, order, flags, cause):
    program = supervised("--count", 2, "--input", "--own-loop", *flags)
    program.wait("ready", 2)
    program.command(f"send 1 {order}")
    death = program.wait("death", seconds=8)
    assert (death["index"], death["cause"]) == (1, cause)
    program.wait("ready", index=1, generation=2)
    program.command("stop")
    assert program.process.wait(10) == 0


def limited(how, number):
    return ["sh", "-c", f"ulimit {how} {number}; exec \"$@\"", "sh"]


@pytest.mark.parametrize("arguments", [[], ["--", "/bin/sleep", "1000"]])
def test_many_children_under_a_low_limit_of_descriptors(supervised, arguments):
    """The supervisor uses what it may have; its children get what it was given."""
    program = supervised("--count", 30, *arguments, wrapper=limited("-Sn", 64))
    program.wait("ready", 30)
    for pid in program.pids():
        assert resource.prlimit(pid, resource.RLIMIT_NOFILE)[0] == 64
    assert "Too many open files" not in program.log()
    assert program.stop() == 0


def test_too_few_descriptors_are_told_of_once(supervised):
    program = supervised("--count", 30, wrapper=limited("-n", 64))
    program.wait("ready", 5)
    wait_for(lambda: program.log().count("kids[29]: Too many open files") == 2)
    assert len(re.findall(r"1\d children are all that 64 open files suffice for: raise",
                          program.log())) == 1
    assert program.stop() == 0


def test_a_budget_makes_a_group_degraded_and_it_recovers(supervised):
    program = supervised("--count", 2, "--max-restarts", 3, "--retry", 700, "--own-loop",
                         "--input")
    program.wait("ready", 2)
    for number in range(4):
        program.command("send 0 exit 65")
        program.wait("death", number + 1)
        if number < 3:
            program.wait("ready", number + 3)
    events = program.command("children")[1]
    assert events[-1]["degraded"] is True
    assert [event["index"] for event in events[:-1]] == [1], "0 is not started at once"
    assert "kids is degraded: more than 3 restarts" in program.log()
    program.wait("ready", 6)
    wait_for(lambda: "kids has recovered" in program.log())
    assert program.command("children")[1][-1]["degraded"] is False
    program.command("stop")
    assert program.process.wait(10) == 0


def test_most_children_failing_is_said_once(supervised):
    program = supervised("--count", 8)
    program.wait("ready", 8)
    for _ in range(3):
        for pid in program.pids():
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.5)
    program.wait("death", 24)
    assert program.log().count("most children are failing") == 1
    assert program.stop() == 0


def test_sigint_interrupts_and_a_second_signal_is_immediate(supervised):
    program = supervised("--count", 3, "--block", "--heartbeat", 60000)
    program.wait("ready", 3)
    pids = [event["pid"] for event in sorted(program.all("ready"), key=lambda e: e["index"])]
    time.sleep(0.1)
    os.kill(pids[0], signal.SIGINT)
    death = program.wait("death", pid=pids[0])
    assert death["code"] == 5
    assert re.search(r"kids\[0\].*blocking call: -1, Interrupted", program.log())
    assert re.search(r"kids\[0\].*shutdown 0", program.log())
    os.kill(pids[1], signal.SIGTERM)  # lets run() finish: which does not
    time.sleep(0.3)
    assert is_alive(pids[1])
    os.kill(pids[1], signal.SIGTERM)
    death = program.wait("death", pid=pids[1])
    assert death["name"] == "SIGTERM"
    os.kill(pids[2], signal.SIGTERM)
    time.sleep(0.1)
    os.kill(pids[2], signal.SIGINT)
    assert program.wait("death", pid=pids[2])["name"] == "SIGINT"
    program.process.send_signal(signal.SIGTERM)
    wait_for(lambda: ": stopping" in program.log())
    time.sleep(0.6)  # sooner it would be the same wish
    assert program.process.poll() is None, "it waits for children that do not go"
    program.process.send_signal(signal.SIGINT)
    assert program.process.wait(5) == 0


def test_who_does_not_stop_is_killed(supervised):
    program = supervised("--count", 2, "--block", "--stop", 400, "--heartbeat", 60000)
    program.wait("ready", 2)
    assert program.stop() == 0
    assert {(death["cause"], death["name"]) for death in program.all("death")} == {
        ("order", "SIGKILL")}
    assert "did not stop within its stop timeout of 400 ms" in program.log()


def test_after_the_fork(supervised):
    read_end, write_end = os.pipe()
    spare = os.open("/dev/null", os.O_RDONLY)
    for fd in (write_end, spare):
        os.set_inheritable(fd, True)
    program = supervised("--count", 2, "--input", "--own-loop", "--preserve", write_end,
                         pass_fds=(write_end, spare))
    try:
        program.wait("ready", 2)
        for pid in program.pids():
            fds = fds_of(pid)
            assert str(write_end) in fds and str(spare) not in fds
            # Standard streams, the preserved one, the channel, what stops it.
            assert len(fds) == 6, fds
            status = status_of(pid)
            assert int(status["SigBlk"], 16) == 0
            ignored = int(status["SigIgn"], 16)
            assert not ignored & (1 << (signal.SIGTERM - 1)) and ignored & (1 << (signal.SIGPIPE - 1))
            with open(f"/proc/{pid}/comm", encoding="ascii") as file:
                assert re.match(r"kids\[\d\]", file.read())
        for index in range(2):
            program.command(f"send {index} random")
        lines = wait_for(lambda: (lambda found: found if len(found) == 2 else None)(
            re.findall(r"random (\d+ \d+)", program.log())))
        assert lines[0] != lines[1], "the same random numbers after the fork"
    finally:
        for fd in (read_end, write_end, spare):
            os.close(fd)
    program.command("stop")
    assert program.process.wait(10) == 0


def test_standard_input_is_dev_null(supervised):
    program = supervised("--count", 1)
    child = program.wait("ready")
    assert fds_of(child["pid"])["0"] == "/dev/null"
    assert program.stop() == 0


@pytest.mark.parametrize("kind", KINDS)
def test_children_die_with_their_parent(supervised, kind):
    program = supervised("--count", 3, "--kind", kind)
    program.wait("ready", 3)
    family = program.pids()
    program.process.kill()
    program.process.wait()
    wait_for(lambda: not any(is_alive(pid) for pid in family), 2, "the end of the children")


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become another user")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("when", ["start", "run"])
def test_so_do_those_who_have_become_another_user(supervised, when, kind):
    """Of those the kernel forgets it (prctl(2), PR_SET_PDEATHSIG)."""
    program = supervised("--count", 2, "--kind", kind, "--nobody", when)
    program.wait("ready", 2)
    family = program.pids()
    wait_for(lambda: all(status_of(pid)["Uid"].split()[0] == "65534" for pid in family))
    program.process.kill()
    program.process.wait()
    wait_for(lambda: not any(is_alive(pid) for pid in family), 2, "the end of the children")


def test_a_status_is_listed(supervised):
    program = supervised("--count", 1, "--input", "--own-loop")
    program.wait("ready")
    program.command("send 0 status polling the sensor")
    wait_for(lambda: program.children()[0]["status"] == "polling the sensor")
    program.command("stop")
    assert program.process.wait(10) == 0


@pytest.mark.parametrize("environment,says", [
    ({"WEB_CONCURRENCY": "3"}, r"kids: 3 children \(WEB_CONCURRENCY is 3\)"),
    ({"WEB_CONCURRENCY": "many"}, r"kids: \d+ children \(\d+ processors by affinity"),
    ({}, r"kids: \d+ children \(\d+ processors by affinity, .*less one, at least 2\)")])
def test_the_default_count_says_where_it_comes_from(supervised, environment, says):
    clean = {name: value for name, value in os.environ.items() if name != "WEB_CONCURRENCY"}
    program = supervised(env={**clean, **environment})
    wait_for(lambda: re.search(says, program.log()), what=says)
    count = int(re.search(r"kids: (\d+) children", program.log()).group(1))
    program.wait("ready", count)
    assert len(program.pids()) == count >= 2
    assert program.stop() == 0


@pytest.mark.parametrize("arguments,says", [
    (["--ids", "1,1"], 'group "kids" has the id 1 twice'),
    (["--count", "5000"], 'group "kids" must have 1 to 1024 children'),
    (["--count", "1", "--preserve", "77"], "preserve_fds[0] is 77, which is no open descriptor"),
    (["--listen-fd", "0"], "`listen_fds` are for CREW_EXEC"),
    (["--heartbeat", "100", "--", "true"], "set `notify`")])
def test_a_plan_that_makes_no_sense_is_refused(arguments, says):
    done = subprocess.run([SUPERVISED, *arguments], capture_output=True, text=True, timeout=10,
                          stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("supervised: ") and says in done.stderr


def test_a_storm_of_signals_loses_nothing(supervised):
    program = supervised("--count", 4)
    program.wait("ready", 4)
    dice = random.Random(7)
    for _ in range(300):
        program.process.send_signal(dice.choice([signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU,
                                                 signal.SIGUSR1, signal.SIGCHLD]))
        time.sleep(dice.random() / 100)
    time.sleep(0.5)
    counts = re.findall(r"one (?:more|less), (\d+) now", program.log())
    expected = int(counts[-1]) if counts else 4
    wait_for(lambda: len(program.pids()) == expected, 15, "the right number of children")
    # Nobody died but by order, and everybody is there once.
    assert {death["cause"] for death in program.all("death")} <= {"order"}
    assert program.stop() == 0
    assert len(program.all("ready")) == len(program.all("death", ready=True))


def resources(pid):
    rss = int(status_of(pid)["VmRSS"].split()[0])
    return len(fds_of(pid)), int(status_of(pid)["Threads"]), rss


def test_a_thousand_random_kills(supervised):
    program = supervised("--count", 8, "--heartbeat", 1000, "--level", 50)
    program.wait("ready", 8)
    dice = random.Random(3)
    alive = {event["index"]: event["pid"] for event in program.all("ready")}
    expected = {}
    before = None
    ways = ([("kill", signal.SIGKILL), ("segv", signal.SIGSEGV), ("abrt", signal.SIGABRT)] * 4 +
            [("stop", signal.SIGSTOP)] +
            [("exit", signal.SIGRTMIN + number) for number in (0, 1, 6, 11, 14, 15)])
    at = 0

    def catch_up():
        nonlocal at
        events = program.events
        while at < len(events):
            event = events[at]
            at += 1
            if event["event"] == "ready":
                alive[event["index"]] = event["pid"]
            elif event["event"] == "death" and alive.get(event["index"]) == event["pid"]:
                del alive[event["index"]]

    for number in range(1000):
        def victim():
            catch_up()
            free = [pid for pid in alive.values() if pid not in expected]
            return dice.choice(sorted(free)) if len(free) > 1 else None
        pid = wait_for(victim, 10)
        way, how = dice.choice(ways)
        expected[pid] = (way, how, time.monotonic())
        os.kill(pid, how)
        if number == 100:
            program.wait("death", 101)
            program.wait("ready", 109)
            before = resources(program.pid)
        time.sleep(0.025 * dice.random())
    program.wait("death", 1000, seconds=30)
    catch_up()
    program.wait("ready", 1008, seconds=10)
    late = []
    deaths = {death["pid"]: death for death in program.all("death")}
    assert len(deaths) == 1000, "one death for each kill, and no other"
    for pid, (way, how, _) in expected.items():
        death = deaths[pid]
        if way == "stop":
            assert (death["cause"], death["signal"]) == ("stuck", 9)
        elif way == "exit":
            assert (death["cause"], death["code"]) == ("exit", EXIT_CODES[how - signal.SIGRTMIN])
        else:
            assert (death["cause"], death["signal"]) == ("signal", how)
        follower = program.all("ready", index=death["index"],
                               generation=death["generation"] + 1)[0]
        if way != "exit":  # one that ends by itself soon and often has to wait
            late.append(follower["at"] - death["at"])
    late.sort()
    median, most = late[len(late) // 2], late[len(late) * 99 // 100]
    print(f"replaced within {median * 1000:.1f} ms (median), {most * 1000:.1f} (99 %), "
          f"{late[-1] * 1000:.1f} (all)")
    assert median < 0.05 and most < 0.1 and late[-1] < 2
    wait_for(lambda: len(program.pids()) == 8)
    after = resources(program.pid)
    assert after[:2] == before[:2], "descriptors and threads"
    if not os.environ.get("CREW_CFLAGS"):  # sanitizers keep what was freed
        assert after[2] <= before[2] + 512, f"memory: {before[2]} KiB, then {after[2]} KiB"
    for pid in children_of(program.pid):
        assert status_of(pid)["State"][0] != "Z"
    assert program.stop() == 0


def test_started_and_stopped_again_and_again_in_one_program(tmp_path):
    """Through the library itself: no descriptor, child or memory is left."""
    from conftest import BUILD
    source = tmp_path / "again.c"
    source.write_text(r"""
        #include <crew/supervise.h>
        #include <dirent.h>
        #include <pthread.h>
        #include <stdio.h>
        #include <unistd.h>
        #include <malloc.h>
        static int run(struct crew_child *self) { while (crew_rest(self, 1000)) ; return 0; }
        static int ready;
        static void on_ready(struct crew_supervisor *s, const struct crew_child_info *c)
        { (void)s; (void)c; ready++; }
        static int fds(void)
        {
            int count = 0; DIR *folder = opendir("/proc/self/fd");
            while (readdir(folder)) count++;
            closedir(folder); return count;
        }
        static void *once(void *kind)
        {
            struct crew_supervisor *supervisor;
            struct crew_error error;
            struct crew_plan plan = { .groups = { { .name = "a", .run = run, .count = 3,
                .kind = *(enum crew_kind *)kind } }, .on_ready = on_ready };
            ready = 0;
            if (crew_plan_start(&plan, &supervisor, &error) < 0) { puts(error.text); return kind; }
            while (ready < 3) if (crew_plan_step(supervisor, 1000) < 0) return kind;
            crew_plan_stop(supervisor);
            while (crew_plan_step(supervisor, 1000) > 0) ;
            crew_plan_free(supervisor);
            return NULL;
        }
        int main(void)
        {
            enum crew_kind kinds[2] = { CREW_PROCESS, CREW_THREAD };
            int before = 0; size_t memory = 0; pthread_t thread; void *bad;
            for (int i = 0; i < 40; i++) {
                if (i == 10) { before = fds(); memory = mallinfo2().uordblks; }
                if (i % 3 == 0) { pthread_create(&thread, NULL, once, &kinds[i & 1]);
                                  pthread_join(thread, &bad); }
                else bad = once(&kinds[i & 1]);
                if (bad) return 1;
            }
            int after = fds(); size_t memory_after = mallinfo2().uordblks;
            printf("%d %d %zu %zu\n", before, after, memory, memory_after);
            return after != before || memory_after > memory + 2048 ? 2 : 0;
        }
    """)
    program = str(tmp_path / "again")
    flags = os.environ.get("CREW_CFLAGS", "").split()
    include = os.path.join(os.path.dirname(__file__), "..", "..", "include")
    subprocess.run(["gcc", *flags, "-std=gnu17", f"-I{include}", "-o", program, str(source),
                    f"-L{BUILD}", f"-Wl,-rpath,{os.path.abspath(BUILD)}", "-lcrew", "-lpthread"],
                   check=True)
    done = subprocess.run([program], capture_output=True, text=True, timeout=60, check=False,
                          stdin=subprocess.DEVNULL)
    assert done.returncode == 0, (done.stdout, done.stderr[-2000:])
