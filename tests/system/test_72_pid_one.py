# SPDX-License-Identifier: MIT
"""As PID 1, as in a container; and on a terminal, with its console."""
import os
import pty
import re
import select
import signal
import subprocess
import time

import pytest

from conftest import BUILD, children_of, is_alive, wait_for
from supervised import SUPERVISED, Supervised, status_of


def namespaces():
    """A command that makes its argument PID 1, or None where nobody may."""
    for command in (["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"],
                    ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child",
                     "--mount-proc"]):
        if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
            return command
    return None


@pytest.fixture
def as_pid_one(tmp_path):
    command = namespaces()
    if not command:
        pytest.skip("this machine lets nobody make a PID namespace")
    programs = []

    def starter(*arguments):
        programs.append(Supervised(*arguments, folder=str(tmp_path), wrapper=command))
        program = programs[-1]
        program.wait("on_start")
        program.init = wait_for(lambda: children_of(program.pid))[0]
        return program

    yield starter
    for program in programs:
        if program.process.poll() is None:
            program.process.kill()
            program.process.wait()


def test_it_buries_orphans(as_pid_one):
    program = as_pid_one("--", "/bin/sh", "-c", "(sleep 0.2 & sleep 0.3 &) ; exec sleep 1000")
    assert program.all("on_start")[0]["pid"] == 1
    program.wait("ready", 2)
    time.sleep(0.8)
    family = children_of(program.init)
    assert len(family) == 2, "the orphans are gone"
    assert all(status_of(pid)["State"][0] != "Z" for pid in family)
    assert not program.all("death")
    os.kill(program.init, signal.SIGTERM)
    assert program.process.wait(10) == 0


def test_it_buries_an_orphan_that_died_between_two_children(as_pid_one):
    program = as_pid_one("--count", "3", "--", "/bin/sh", "-c", "(sleep 1000 &) ; exec sleep 1000")
    program.wait("ready", 3)
    family = wait_for(lambda: (found := children_of(program.init)) and len(found) == 6 and found)
    os.kill(program.init, signal.SIGSTOP)  # all deaths are one SIGCHLD
    for pid in family:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: all(status_of(pid)["State"][0] == "Z" for pid in family))
    os.kill(program.init, signal.SIGCONT)
    program.wait("death", 3)
    wait_for(lambda: not set(family) & set(children_of(program.init)), what="the end of orphans")
    os.kill(program.init, signal.SIGTERM)
    assert program.process.wait(10) == 0


def test_it_passes_signals_on(as_pid_one):
    program = as_pid_one("--count", "2", "--", "/bin/sh", "-c",
                         "trap 'echo got usr2' USR2; trap 'echo got winch' WINCH; "
                         "trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done")
    wait_for(lambda: program.log().count("up") == 2)
    os.kill(program.init, signal.SIGUSR2)
    wait_for(lambda: program.log().count("got usr2") == 2)
    os.kill(program.init, signal.SIGWINCH)
    wait_for(lambda: program.log().count("got winch") == 2)
    os.kill(program.init, signal.SIGTERM)
    assert program.process.wait(10) == 0


def test_signals_from_outside_of_its_namespace(as_pid_one):
    """As of `docker kill`. To it, as to a key of the terminal, their sender has no number."""
    program = as_pid_one("--count", "2")
    program.wait("ready", 2)
    os.kill(program.init, signal.SIGTTIN)
    program.wait("ready", 3)
    os.kill(program.init, signal.SIGTTOU)
    program.wait("death", index=2)
    os.kill(program.init, signal.SIGTERM)
    assert program.process.wait(10) == 0


def test_an_interrupt_from_outside_of_its_namespace(as_pid_one):
    program = as_pid_one("--kind", "thread", "--count", "1", "--block",
                         "--heartbeat", "60000")
    program.wait("ready")
    os.kill(children_of(program.init)[0], signal.SIGINT)
    wait_for(lambda: "blocking call: -1, Interrupted" in program.log())


class Terminal:
    """A program on a terminal of its own."""
    running = []  # whose end was not waited for

    def __init__(self, *arguments):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execv(SUPERVISED, [SUPERVISED, *arguments])
        self.text = ""
        Terminal.running.append(self)

    def expect(self, pattern, seconds=5):
        end = time.monotonic() + seconds
        while not re.search(pattern, self.text, re.S):
            ready, _, _ = select.select([self.fd], [], [], max(0, end - time.monotonic()))
            assert ready, f"{pattern} did not come:\n{self.text}"
            try:
                self.text += os.read(self.fd, 4096).decode("utf-8", "replace")
            except OSError:
                break
        found = re.search(pattern, self.text, re.S)
        assert found, self.text
        self.text = self.text[found.end():]
        return found

    def type(self, line):
        os.write(self.fd, line.encode() + b"\n")

    def wait(self, seconds=10):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                self.text += os.read(self.fd, 4096).decode("utf-8", "replace")
            except OSError:
                break
        _, status = os.waitpid(self.pid, 0)
        os.close(self.fd)
        Terminal.running.remove(self)
        return os.waitstatus_to_exitcode(status)


@pytest.fixture(autouse=True)
def nobody_is_left():
    """Also where a test has failed."""
    yield
    for terminal in list(Terminal.running):
        os.kill(terminal.pid, signal.SIGKILL)
        terminal.wait()


def test_the_console():
    terminal = Terminal("--console", "--count", "2", "--input")
    terminal.expect(r"crew> ")
    terminal.expect(r'"event":"ready".*"event":"ready"')
    terminal.type("help")
    terminal.expect(r"reload +\[GROUP\]: rolling restart.*crew> ")
    terminal.type("status")
    pid = int(terminal.expect(r"kids\[0\] +(\d+) +1 ready.*kids\[1\] +\d+ +1 ready").group(1))
    terminal.type("send kids 0 say hello there")
    terminal.expect(r"kids\[0\] \d+: hello there")
    terminal.type("add kids 7")
    terminal.expect(r"kids\[7\] starts")
    terminal.type(f"signal kids 0 {signal.SIGSEGV.value}")
    terminal.expect(r'"event":"death".*SIGSEGV')
    terminal.type("deaths")
    terminal.expect(rf"kids\[0\] pid {pid}: signal, SIGSEGV, after .*\| .*hello there")
    terminal.type("remove kids 7")
    terminal.expect(r'"event":"death".*"index":7')
    terminal.type("remove kids 99")
    terminal.expect(r"there is no such child; try status")
    terminal.type("remove kids x")
    terminal.expect(r'"x" is not a number')
    terminal.type("add")
    terminal.expect(r"add GROUP \[ID\]: one child more")
    terminal.type("frobnicate")
    terminal.expect(r'there is no command "frobnicate"; try help')
    terminal.type("reload nothing")
    terminal.expect(r'there is no group "nothing"')
    terminal.type("reload")
    terminal.expect(r"rolling restart done")
    for level, told in (("info", False), ("debug", True)):
        terminal.type(f"level {level}")
        terminal.expect("crew> ")
        terminal.type("add kids 7")
        terminal.expect(r'"event":"ready".*"index":7')
        terminal.type("remove kids 7")
        said = terminal.expect(r'.*"event":"death".*"index":7').group()
        assert bool(re.search(r"kids\[7\] \(pid \d+\) has stopped after", said)) == told
    terminal.type("stop")
    assert terminal.wait() == 0
    assert not is_alive(pid)


def goes_on(parent):
    """After "help" it obeyed "add kids 5" too, and it restarts who is killed."""
    before = wait_for(lambda: (found := children_of(parent)) and len(found) == 2 and found)
    os.kill(before[0], signal.SIGKILL)
    wait_for(lambda: (after := children_of(parent)) and len(after) == 2 and
             before[0] not in after, what="the successor")


def test_a_console_on_a_stopped_terminal_holds_nobody_up():
    terminal = Terminal("--console", "--quiet", "--count", "1")
    terminal.expect(r"crew> ")
    os.write(terminal.fd, b"\x13")  # Ctrl-S
    terminal.type("help\nadd kids 5")
    goes_on(terminal.pid)
    os.write(terminal.fd, b"\x11")  # Ctrl-Q
    terminal.expect(r"reload +\[GROUP\]: rolling restart.*crew> .*kids\[5\] starts.*crew> ")
    terminal.type("stop")
    assert terminal.wait() == 0


def test_a_console_whose_output_nobody_reads_holds_nobody_up():
    """And what is read late after all comes whole, as far as it is kept."""
    master, slave = pty.openpty()
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    filled = 0
    try:
        while True:
            filled += os.write(write_end, b"." * 4096)
    except BlockingIOError:
        os.set_blocking(write_end, True)
    process = subprocess.Popen([SUPERVISED, "--console", "--quiet", "--count", "1"],
                               stdin=slave, stdout=write_end, stderr=subprocess.DEVNULL)
    os.close(slave)
    os.close(write_end)
    try:
        os.write(master, b"help\nadd kids 5\n")
        goes_on(process.pid)
        text = b""
        while b"crew> " not in text.partition(b"stop at once")[2]:
            text += os.read(read_end, 4096)
        assert text.count(b".") >= filled and b"reload   [GROUP]: rolling restart" in text
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(read_end)
        os.close(master)
    assert process.returncode == 0


def test_what_children_say_cannot_talk_to_the_terminal(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal("--console", "--count", "1", "--input")
    terminal.expect(r'"event":"ready"')
    terminal.type("send kids 0 status \x1b[31mred")
    terminal.type("send kids 0 mutter \x1b[32mgreen")
    terminal.expect(r"kids\[0\] \d+: \\x1b\[32mgreen")
    terminal.type("status")
    assert "\x1b" not in terminal.expect(r"kids\[0\] +\d+ +1 ready[^\n]*31mred").group(0)
    terminal.type(f"signal kids 0 {signal.SIGSEGV.value}")
    terminal.expect(r'"event":"death"')
    terminal.type("deaths")
    assert "\x1b" not in terminal.expect(r"kids\[0\] pid .*\|[^\n]*32mgreen").group(0)
    terminal.type("stop")
    assert terminal.wait() == 0


def test_ctrl_c_is_the_parents(tmp_path):
    """The terminal sends it to all processes of the group; children finish their work."""
    terminal = Terminal("--count", "2", "--block", "--stop", "700", "--heartbeat", "60000")
    terminal.expect(r'"event":"ready".*"event":"ready"')
    time.sleep(0.2)
    os.write(terminal.fd, b"\x03")
    terminal.expect(r"signal SIGINT: stopping")
    # Not interrupted by the terminal: they are told by the parent, and do not go.
    terminal.expect(r"did not stop within its stop timeout of 700 ms")
    assert "blocking call" not in terminal.text
    assert terminal.wait() == 0


def test_echo_is_still_on_afterwards():
    import termios
    terminal = Terminal("--console", "--count", "1")
    before = termios.tcgetattr(terminal.fd)
    terminal.expect(r'"event":"ready"')
    during = termios.tcgetattr(terminal.fd)
    assert during[3] & termios.ECHO and before[3] == during[3]
    os.write(terminal.fd, b"\x04")  # the console ends, the supervisor goes on
    time.sleep(0.3)
    assert is_alive(terminal.pid)
    os.kill(terminal.pid, signal.SIGTERM)
    assert terminal.wait() == 0
