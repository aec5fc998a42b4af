# SPDX-License-Identifier: MIT
"""Other programs as children: what they are given, and what they can say of themselves."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest

from client import send_lingering
from conftest import BUILD, children_of, is_alive, wait_for

SUPERVISED = os.path.join(os.path.abspath(BUILD), "tests", "supervised")
PYTHON = "/usr/bin/python3"
NOBODY = 65534

# What each script begins with. It works in the folder of its test.
PRELUDE = """
import array, json, os, select, signal, socket, sys, time

def connect():
    sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sender.connect("\\0" + os.environ["NOTIFY_SOCKET"][1:])
    return sender

def say(text):
    with connect() as sender:
        sender.send(text.encode())

def write(name, what=None):
    with open(name + ".new", "w") as file:
        json.dump(what, file)
    os.rename(name + ".new", name)

def wait(name):
    while not os.path.exists(name):
        time.sleep(0.01)

def sleep():
    while True:
        time.sleep(60)
"""


class Supervised:
    def __init__(self, folder, arguments, command, before=(), **options):
        self.folder = folder
        self.known = set()
        self.own_loop = "--own-loop" in arguments
        self.out = open(folder / "out", "wb")
        self.error = open(folder / "log", "wb")
        self.process = subprocess.Popen(
            [*before, SUPERVISED, *arguments, "--", *command], cwd=folder,
            stdin=subprocess.PIPE, stdout=self.out, stderr=self.error, **options)

    def log(self):
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def events(self, kind=None):
        text = (self.folder / "out").read_text(encoding="utf-8")
        found = [json.loads(line) for line in text.split("\n")[:-1] if line.startswith("{")]
        self.known.update(event["pid"] for event in found if event.get("pid"))
        return [event for event in found if kind in (None, event["event"])]

    def wait_event(self, kind, seconds=10):
        return wait_for(lambda: self.events(kind), seconds,
                        f"an event {kind!r} in\n{self.events()}\n{self.log()}\n")[0]

    def wait_log(self, text, seconds=10):
        wait_for(lambda: text in self.log(), seconds, f"{text!r} in the log")

    def children(self):
        """As crew_plan_children lists them, now."""
        before = len(self.events("listed"))
        already = len(self.events("child"))
        self.process.stdin.write(b"children\n")
        self.process.stdin.flush()
        wait_for(lambda: len(self.events("listed")) > before, what="the list of children")
        return self.events("child")[already:]

    def touch(self, name):
        (self.folder / name).touch()

    def read(self, name, seconds=10):
        wait_for((self.folder / name).exists, seconds, f"{name}, written by the program,")
        return json.loads((self.folder / name).read_text(encoding="utf-8"))

    def stop(self):
        """Returns the exit code, after having seen that nobody is left."""
        for child in self.events("ready"):
            self.known.add(child["pid"])
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            if self.own_loop:
                self.process.stdin.close() # the end of orders
            else:
                self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError("it did not stop:\n" + self.log()) from None
        self.out.close()
        self.error.close()
        wait_for(lambda: not any(is_alive(pid) for pid in self.known if pid > 1),
                 what="the end of all children")
        return self.process.returncode


@pytest.fixture
def run(tmp_path):
    """A function that starts a plan of one child, a script in Python."""
    started = []

    def runner(*arguments, script=None, command=None, **options):
        folder = tmp_path / str(len(started))
        folder.mkdir()
        if script is not None:
            (folder / "script.py").write_text(PRELUDE + script, encoding="utf-8")
            command = [PYTHON, str(folder / "script.py")]
        started.append(Supervised(folder, ["--count", "1", *arguments], command, **options))
        return started[-1]

    yield runner
    for supervised in started:
        supervised.stop()


# ---- what a program is given ----

LOOK = """
names = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_USEC",
         "WATCHDOG_PID", "INHERITED")
def is_open(fd):
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
fds = [fd for fd in range(256) if is_open(fd)]
write("seen", {"pid": os.getpid(), "fds": fds,
               "environment": {name: os.environ.get(name) for name in names}})
"""


def test_listeners_are_handed_over(run):
    script = LOOK + """
listener = socket.socket(fileno=3)
while True:
    client = listener.accept()[0]
    client.sendall(b"hello")
    client.close()
"""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        supervised = run("--listen-fd", str(listener.fileno()), script=script,
                         pass_fds=[listener.fileno()])
        seen = supervised.read("seen")
        assert seen["environment"]["LISTEN_FDS"] == "1"
        assert seen["environment"]["LISTEN_PID"] == str(seen["pid"])
        assert seen["environment"]["LISTEN_FDNAMES"] == "web"
        assert supervised.wait_event("ready")["pid"] == seen["pid"]
        assert seen["fds"] == [0, 1, 2, 3]
        with socket.create_connection(listener.getsockname(), 10) as client:
            assert client.recv(100) == b"hello"
    assert supervised.stop() == 0


def test_the_listener_outlives_its_program(run):
    script = """
write("pid.%d" % os.getpid())
client = socket.socket(fileno=3).accept()[0]
client.sendall(b"%d" % os.getpid())
"""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        run("--listen-fd", str(listener.fileno()), script=script, pass_fds=[listener.fileno()])
        pids = set()
        for _ in range(3):
            with socket.create_connection(listener.getsockname(), 10) as client:
                pids.add(client.recv(100))
        assert len(pids) == 3


@pytest.mark.parametrize("number", [3, 4, 5, 100])
def test_a_listener_may_have_any_number(run, number):
    """Its place may be taken: by itself, or by what the supervisor needs."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        script = LOOK + """
write("name", socket.socket(fileno=3).getsockname()[1])
sleep()
"""
        command = ["/bin/bash", "-c", 'from=$1; shift; to=$1; shift; '
                   'eval "exec $to<&$from"; exec "$@"', "bash",
                   str(listener.fileno()), str(number)]
        # bash gives the listener its number, then becomes the supervisor.
        supervised = run("--listen-fd", str(number), script=script,
                         pass_fds=[listener.fileno()], before=command)
        assert supervised.read("name") == listener.getsockname()[1]
        assert supervised.read("seen")["fds"] == [0, 1, 2, 3]


def test_nothing_else_is_inherited(run):
    reader, writer = os.pipe()
    try:
        supervised = run(script=LOOK + "sleep()\n", pass_fds=[reader, writer],
                         env={**os.environ, "LISTEN_FDS": "3", "LISTEN_PID": "1",
                              "LISTEN_FDNAMES": "mine", "NOTIFY_SOCKET": "/run/mine",
                              "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "INHERITED": "yes"})
        seen = supervised.read("seen")
    finally:
        os.close(reader)
        os.close(writer)
    assert seen["fds"] == [0, 1, 2]
    # What another supervisor told our parent is not meant for its children.
    assert [name for name, value in seen["environment"].items() if value] == ["INHERITED"]


def test_standard_streams(run):
    script = """
write("input", [os.read(0, 100).decode(), os.readlink("/proc/self/fd/0")])
print("to the log", flush=True)
print("to the log too", file=sys.stderr, flush=True)
sleep()
"""
    supervised = run(script=script)
    assert supervised.read("input") == ["", "/dev/null"]
    pid = supervised.wait_event("ready")["pid"]
    supervised.wait_log(f"kids[0] {pid}: to the log\n")
    supervised.wait_log(f"kids[0] {pid}: to the log too\n")


def test_signals_are_as_a_program_expects_them(run):
    def worsen():
        for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR2, signal.SIGPIPE,
                       signal.SIGTTIN, signal.SIGRTMIN + 3):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGWINCH])

    # Not a script: the interpreter ignores some itself.
    supervised = run(command=["/bin/sh", "-c", "cat /proc/self/status >status.new; "
                              "mv status.new status; exec sleep 1000"], preexec_fn=worsen)
    wait_for((supervised.folder / "status").exists)
    status = dict(line.split(":\t", 1) for line in
                  (supervised.folder / "status").read_text(encoding="ascii").splitlines())
    for which in ("SigBlk", "SigIgn", "SigPnd", "ShdPnd"):
        assert int(status[which], 16) == 0, f"{which} {status[which]}"


# ---- what it says ----

def test_ready_is_when_it_says_so(run):
    supervised = run("--notify", script='write("begun")\nwait("go")\nsay("READY=1")\nsleep()\n')
    supervised.read("begun")
    time.sleep(0.5)
    assert not supervised.events("ready")
    supervised.touch("go")
    assert supervised.wait_event("ready")["generation"] == 1


def test_without_notify_it_is_ready_when_executed(run):
    supervised = run(script='write("seen", os.environ.get("NOTIFY_SOCKET"))\nsleep()\n')
    supervised.wait_event("ready")
    assert supervised.read("seen") is None


def test_who_is_never_ready_is_killed(run):
    supervised = run("--notify", "--boot", "500", script="sleep()\n")
    death = supervised.wait_event("death")
    assert death["cause"] == "boot timeout" and death["name"] == "SIGKILL"
    assert not death["ready"]
    supervised.wait_log("was not ready within its boot timeout of 500 ms")


def test_status_is_listed(run):
    script = """
say("READY=1\\nSTATUS=reading the table")
wait("go")
say("STATUS=" + "x" * 300)
write("said")
sleep()
"""
    supervised = run("--own-loop", "--notify", script=script)
    supervised.wait_event("ready")
    wait_for(lambda: supervised.children()[0]["status"] == "reading the table")
    supervised.touch("go")
    supervised.read("said")
    wait_for(lambda: supervised.children()[0]["status"] == "x" * 127)
    assert supervised.stop() == 0


def test_unknown_words_do_no_harm(run):
    script = r"""
for text in ("", "\n\n", "=", "READY", "READY=0", "READY=yes", "READY=11", "X" * 5000, "MAINPID=1",
             "ERRNO=2", "FDSTORE=1", "\0READY=1", "STATUS=", "X_MINE=1\nWATCHDOG"):
    say(text)
write("said")
wait("go")
say("X_MINE=1\nREADY=1\nMAINPID=1\n")
sleep()
"""
    supervised = run("--notify", script=script)
    supervised.read("said")
    time.sleep(0.3)
    assert not supervised.events("ready")
    supervised.touch("go")
    supervised.wait_event("ready")
    assert not supervised.events("death")


def test_the_watchdog(run):
    script = """
write("seen", [os.environ.get("WATCHDOG_USEC"), os.environ.get("WATCHDOG_PID"), os.getpid()])
say("READY=1")
while not os.path.exists("silence"):
    say("WATCHDOG=1")
    time.sleep(0.1)
sleep()
"""
    supervised = run("--notify", "--heartbeat", "1500", script=script)
    usec, pid, own = supervised.read("seen")
    assert usec == "1500000" and pid == str(own)
    supervised.wait_event("ready")
    time.sleep(3.5)
    assert not supervised.events("death"), "it was killed although it spoke"
    silent_since = time.monotonic()
    supervised.touch("silence")
    death = supervised.wait_event("death")
    assert time.monotonic() - silent_since > 1.2
    assert death["cause"] == "stuck" and death["name"] == "SIGKILL" and death["ready"]
    supervised.wait_log("is stuck: no heartbeat for ")


def test_a_watchdog_that_the_program_asks_for(run):
    """No timeout in the plan, but its own by WATCHDOG_USEC=."""
    script = """
write("seen", os.environ.get("WATCHDOG_USEC"))
say("READY=1")
wait("go")
say("WATCHDOG_USEC=500000\\nWATCHDOG=1")
sleep()
"""
    supervised = run("--notify", script=script)
    assert supervised.read("seen") is None
    supervised.wait_event("ready")
    supervised.touch("go")
    assert supervised.wait_event("death")["cause"] == "stuck"


def test_the_program_may_call_itself_stuck(run):
    supervised = run("--notify", script='say("READY=1")\nwait("go")\n'
                     'say("WATCHDOG=trigger")\nsleep()\n')
    supervised.wait_event("ready")
    supervised.touch("go")
    assert supervised.wait_event("death")["cause"] == "stuck"
    supervised.wait_log("kids[0] says itself that it is stuck")


def test_stopping(run):
    supervised = run("--own-loop", "--notify", script='say("READY=1")\nwait("go")\n'
                     'say("STOPPING=1\\nSTATUS=saving")\nsleep()\n')
    supervised.wait_event("ready")
    assert supervised.children()[0]["state"] == "ready"
    supervised.touch("go")
    wait_for(lambda: supervised.children()[0]["status"] == "saving")
    assert supervised.children()[0]["state"] == "draining"


def test_more_time_to_boot(run):
    supervised = run("--notify", "--boot", "1000", script="""
say("EXTEND_TIMEOUT_USEC=30000000")
time.sleep(2.5)
say("READY=1")
sleep()
""")
    assert supervised.wait_event("ready", 20)["generation"] == 1
    assert not supervised.events("death")


def test_it_never_gets_less_time(run):
    """As in systemd: EXTEND_TIMEOUT_USEC only ever extends."""
    supervised = run("--notify", "--boot", "30000", script="""
say("EXTEND_TIMEOUT_USEC=1000")
time.sleep(1.5)
say("READY=1")
sleep()
""")
    assert supervised.wait_event("ready", 20)["generation"] == 1
    assert not supervised.events("death")


def test_a_barrier_is_answered(run):
    script = """
say("READY=1")
reader, writer = os.pipe()
with connect() as sender:
    sender.sendmsg([b"BARRIER=1"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                                     array.array("i", [writer]))])
os.close(writer)
poll = select.poll()
poll.register(reader, 0)
write("barrier", [poll.poll(10000) == [(reader, select.POLLHUP)]])
many = [os.open("/dev/null", os.O_RDONLY) for _ in range(200)]
with connect() as sender:
    sender.sendmsg([b"FDSTORE=1"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                                     array.array("i", many))])
write("stored")
sleep()
"""
    supervised = run("--notify", script=script)
    supervised.wait_event("ready")
    assert supervised.read("barrier", 15) == [True]
    supervised.read("stored")
    time.sleep(0.2)
    assert len(os.listdir(f"/proc/{supervised.process.pid}/fd")) < 40, \
        "the supervisor keeps descriptors that were sent to it"


def test_who_sends_a_socket_along_holds_up_nobody(run):
    """To close the last of such a socket can take as long as its sender wants; anybody on the
    machine can send one."""
    supervised = run("--notify", script="""
write("name", os.environ["NOTIFY_SOCKET"])
wait("go")
say("READY=1")
wait("end")
""")
    name = supervised.read("name").replace("@", "\0", 1)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(name)
        supervised.process.send_signal(signal.SIGSTOP)
        with send_lingering(sender, b"STATUS=one"):
            supervised.process.send_signal(signal.SIGCONT)
            supervised.touch("go")
            pid = supervised.wait_event("ready")["pid"]
            # Nor do they who spoke when it died.
            supervised.process.send_signal(signal.SIGSTOP)
            supervised.touch("end")
            wait_for(lambda: not is_alive(pid))
            with send_lingering(sender, b"STATUS=two"):
                supervised.process.send_signal(signal.SIGCONT)
                wait_for(lambda: len(supervised.events("ready")) > 1, 10, "the next one")


def test_last_words_count(run):
    """What was said before the death is heard, however late the supervisor is."""
    script = """
wait("go")
say("STATUS=one")
say("STATUS=two")
say("READY=1")
write("said", os.getpid())
os._exit(3)
"""
    supervised = run("--notify", script=script)
    wait_for(lambda: children_of(supervised.process.pid))
    supervised.process.send_signal(signal.SIGSTOP)
    supervised.touch("go")
    try:
        pid = supervised.read("said")
        wait_for(lambda: not is_alive(pid))
    finally:
        supervised.process.send_signal(signal.SIGCONT)
    death = supervised.wait_event("death")
    assert death["pid"] == pid and death["code"] == 3
    assert death["ready"], "READY=1 was lost"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_who_may_speak(run):
    script = f"""
pid = os.fork()
if pid == 0:
    os.setgid({NOBODY})
    os.setuid({NOBODY})
    say("READY=1")
    os._exit(0)
os.waitpid(pid, 0)
write("said", pid)
wait("go")
os.setgid({NOBODY})
os.setuid({NOBODY})
say("READY=1")
sleep()
"""
    supervised = run("--notify", script=script)
    stranger = supervised.read("said")
    supervised.wait_log(f"a notification from process {stranger} of user {NOBODY} is not heard")
    assert not supervised.events("ready")
    supervised.touch("go") # the program itself is heard whoever it has become
    supervised.wait_event("ready")


def test_a_child_of_the_program_is_heard(run):
    supervised = run("--notify", command=[
        PYTHON, "-c", "import subprocess, sys, time\nsubprocess.run([sys.executable, '-c', '''"
        "import os, socket\nname = os.environ[\"NOTIFY_SOCKET\"]\n"
        "socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b\"READY=1\", \"\\\\0\" + name[1:])"
        "'''])\ntime.sleep(1000)"])
    supervised.wait_event("ready")


def test_a_program_that_was_written_for_systemd(run):
    library = subprocess.run([PYTHON, "-c", "import systemd.daemon"], check=False,
                             stderr=subprocess.DEVNULL).returncode == 0
    tool = shutil.which("systemd-notify")
    if not library and not tool:
        pytest.skip("neither systemd's library for Python nor systemd-notify is here")
    if library:
        script = """
import systemd.daemon
systemd.daemon.notify("READY=1\\nSTATUS=as ever")
sleep()
"""
    else:
        script = f"""
import subprocess
subprocess.run([{tool!r}, "--ready", "--status=as ever"], check=True, timeout=20)
write("told")
sleep()
"""
    supervised = run("--own-loop", "--notify", script=script)
    supervised.wait_event("ready", 20)
    wait_for(lambda: supervised.children()[0]["status"] == "as ever")
    if not library:
        supervised.read("told")


# ---- what cannot be executed ----

@pytest.mark.parametrize("command, code, why", [
    ("/no/such/program", 127, "No such file or directory"),
    ("no-such-program-in-path", 127, "No such file or directory"),
    ("/etc/passwd", 126, "Permission denied"),
    ("/", 126, "Permission denied")])
def test_what_cannot_be_executed(run, command, code, why):
    supervised = run(command=[command])
    supervised.process.wait(20)
    assert supervised.stop() == 3
    deaths = supervised.events("death")
    assert [death["code"] for death in deaths] == [code] * 3
    assert [death["cause"] for death in deaths] == ["exit"] * 3
    assert not any(death["ready"] for death in deaths) and not supervised.events("ready")
    gaps = [after["at"] - before["at"] for before, after in zip(deaths, deaths[1:])]
    assert gaps[0] >= 0.09 and gaps[1] >= 0.19, "it was not waited twice as long each time"
    log = supervised.log()
    said = [int(ms) for ms in re.findall(r"kids\[0\] is started in (\d+) ms", log)]
    assert len(said) == 2 and 100 <= said[0] <= 125 and 200 <= said[1] <= 250
    assert log.count(f"kids[0]: cannot execute {command}: {why}") == 3
    assert "none of its 1 children ever came up: giving up" in log


def test_a_program_that_ends_at_once(run):
    """It was executed, so it was ready; but it is not started again in a frenzy."""
    supervised = run(command=["/bin/false"])
    time.sleep(2)
    deaths = supervised.events("death")
    assert 4 <= len(deaths) <= 12
    assert {death["code"] for death in deaths} == {1}
    assert supervised.process.poll() is None


MANY_FILES = """
import resource
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
write("limit", resource.getrlimit(resource.RLIMIT_NOFILE)[0])
resource.setrlimit(resource.RLIMIT_NOFILE, (1000, hard))
files = [open("/dev/null") for _ in range(500)]
write("opened")
wait("more")
files += [open("/dev/null") for _ in range(450)]
sleep()
"""
LIMIT_256 = ["sh", "-c", "ulimit -Sn 256; exec \"$@\"", "sh"]


def test_the_limit_of_descriptors_is_the_childs(run):
    """Who raises its own, as many servers do, may use what it has."""
    supervised = run(script=MANY_FILES, before=LIMIT_256)
    assert supervised.read("limit") == 256
    supervised.read("opened")
    time.sleep(2.5)  # it is looked at each second
    assert not supervised.events("death"), supervised.log()
    supervised.touch("more")
    assert supervised.wait_event("death")["cause"] == "descriptor limit"
    assert "more than its limit of 900" in supervised.log()


def test_what_it_leaves_behind_may_write_for_ever(run):
    """Of the dead only what was said before the end is heard: else the supervisor would hear
    nothing else any more, no order to stop either."""
    supervised = run("--own-loop", "--level", "50",
                     command=["/bin/sh", "-c", "yes & sleep 0.5; exit 1"])
    wait_for(lambda: len(supervised.events("death")) > 1, 30, "the second death")
    supervised.children()


# ---- what it starts itself ----

FAMILY = """
signal.signal(signal.SIGTERM, signal.SIG_IGN if IGNORES else signal.SIG_DFL)
kids = []
for stubborn in (False, True):
    kids.append(os.fork())
    if kids[-1] == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN if stubborn or IGNORES else signal.SIG_DFL)
        sleep()
write("family", [os.getpid(), os.getpgrp(), *kids])
say("READY=1")
sleep()
"""


def family_of(supervised):
    """The program, its process group, and its children; all are waited for at the end."""
    leader, group, *kids = supervised.read("family")
    os.unlink(supervised.folder / "family")
    supervised.known.update([leader, *kids])
    return leader, group, kids


def test_its_process_group_is_stopped(run):
    supervised = run("--notify", "--process-group", script="IGNORES = False\n" + FAMILY)
    leader, group, kids = family_of(supervised)
    assert group == leader
    assert {os.getpgid(pid) for pid in kids} == {leader}
    supervised.wait_event("ready")
    assert supervised.stop() == 0
    assert "did not stop" not in supervised.log()


def test_its_process_group_is_killed(run):
    supervised = run("--notify", "--process-group", "--stop", "300",
                     script="IGNORES = True\n" + FAMILY)
    family_of(supervised)
    supervised.wait_event("ready")
    assert supervised.stop() == 0
    assert "did not stop within its stop timeout" in supervised.log()


def test_who_dies_takes_its_process_group_along(run):
    """The next one finds their ports and files free."""
    supervised = run("--notify", "--process-group", script="IGNORES = False\n" + FAMILY)
    leader, _, kids = family_of(supervised)
    supervised.wait_event("ready")
    os.kill(leader, signal.SIGKILL)
    wait_for(lambda: not any(map(is_alive, [leader, *kids])), what="the end of all of them")
    second, group, _ = family_of(supervised)
    assert second == group != leader


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_place_is_removed_with_its_process_group(run, number):
    supervised = run("--own-loop", "--notify", "--process-group",
                     script="IGNORES = False\n" + FAMILY)
    leader, _, kids = family_of(supervised)
    supervised.wait_event("ready")
    supervised.process.stdin.write(f"remove 0 {int(number)}\n".encode())
    supervised.process.stdin.flush()
    wait_for(lambda: not any(map(is_alive, [leader, *kids])), what="the end of all of them")
    death = supervised.wait_event("death")
    assert death["cause"] == "order"


def test_without_it_only_the_program_is_signalled(run):
    supervised = run("--notify", script="IGNORES = False\n" + FAMILY)
    leader, group, kids = family_of(supervised)
    try:
        assert group == os.getpgid(supervised.process.pid) != leader
        supervised.wait_event("ready")
        supervised.process.send_signal(signal.SIGTERM)
        assert supervised.process.wait(20) == 0
        assert all(map(is_alive, kids))
    finally:
        for pid in kids:
            os.kill(pid, signal.SIGKILL)


def test_functions_lead_no_process_group(tmp_path):
    done = subprocess.run([SUPERVISED, "--count", "1", "--process-group"], cwd=tmp_path,
                          capture_output=True, text=True, timeout=20, check=False,
                          stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert "`process_group` is for CREW_EXEC" in done.stderr
