# SPDX-License-Identifier: MIT
"""Daemons: leaving the terminal, pidfiles, rotated logs, another user, a full disk."""
import fcntl
import os
import re
import select
import signal
import socket
import subprocess
import termios
import time

import pytest

from conftest import BUILD, Server, children_of, is_alive, wait_for
from supervised import EARLY, SUPERVISED, fds_of, status_of

ROOT = os.geteuid() == 0
HELLO = os.path.join(BUILD, "examples", "hello")


class Daemon:
    """Started as a user would; found by its pidfile; stopped by its pid."""

    def __init__(self, folder, *arguments, wrapper=(), **options):
        self.pidfile = os.path.join(folder, "pid")
        self.log_path = os.path.join(folder, "log")
        self.command = [*wrapper, SUPERVISED, "--daemon", "--pidfile", self.pidfile,
                        "--log-file", self.log_path, *map(str, arguments)]
        self.options = options
        self.done = self.run()
        self.pid = int(self.read(self.pidfile) or 0) if self.done.returncode == 0 else 0

    def run(self):
        return subprocess.run(self.command, capture_output=True, text=True, timeout=20,
                              stdin=subprocess.DEVNULL, check=False, **self.options)

    def read(self, path):
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def log(self):
        """All of it, the oldest first."""
        files = sorted((name for name in os.listdir(os.path.dirname(self.log_path))
                        if re.fullmatch(r"log(\.\d+)?", name)),
                       key=lambda name: -int(name[4:] or 0))
        return "".join(self.read(os.path.join(os.path.dirname(self.log_path), name))
                       for name in files)

    def family(self):
        return [self.pid, *children_of(self.pid)]

    def stop(self, how=signal.SIGTERM):
        if not self.pid or not is_alive(self.pid):
            return
        family = self.family()
        os.kill(self.pid, how)
        wait_for(lambda: not any(map(is_alive, family)), 15, "the end of the daemon")


@pytest.fixture
def daemon(tmp_path):
    started = []

    def starter(*arguments, **options):
        folder = tmp_path / f"daemon{len(started)}"
        folder.mkdir()
        folder.chmod(0o777)
        started.append(Daemon(str(folder), *arguments, **options))
        assert started[-1].done.returncode == 0, started[-1].done.stderr
        return started[-1]

    yield starter
    for one in started:
        one.stop()


def test_it_leaves_the_terminal(daemon):
    program = daemon("--count", 2)
    assert program.done.stdout.count("on_start") <= 1
    assert os.getsid(program.pid) not in (os.getsid(0), program.pid), "it leads no session"
    assert fds_of(program.pid)["0"] == "/dev/null"
    assert fds_of(program.pid)["1"] == fds_of(program.pid)["2"] == program.log_path
    assert os.readlink(f"/proc/{program.pid}/cwd") == "/"
    assert program.read(program.pidfile) == f"{program.pid}\n"
    wait_for(lambda: program.log().count('"event":"ready"') == 2)
    assert "start one 0" in program.log(), "what the program itself prints is there too"
    program.stop()
    assert not os.path.exists(program.pidfile)
    assert "on_shutdown" in program.log()


def test_it_does_not_run_twice(daemon):
    program = daemon("--count", 1)
    again = program.run()
    assert again.returncode == 1
    assert again.stderr.strip().endswith(f"already running, pid {program.pid}")
    assert is_alive(program.pid) and program.read(program.pidfile) == f"{program.pid}\n"


def test_a_deleted_pidfile_is_put_back(daemon):
    program = daemon("--count", 1)
    os.unlink(program.pidfile)
    wait_for(lambda: program.read(program.pidfile) == f"{program.pid}\n")
    assert program.run().returncode == 1, "and is locked"
    wait_for(lambda: "put back" in program.log())


def test_after_a_crash_the_pidfile_is_stale(daemon):
    program = daemon("--count", 2)
    family = program.family()
    os.kill(program.pid, signal.SIGKILL)
    wait_for(lambda: not any(map(is_alive, family)), what="the end of all")
    assert program.read(program.pidfile) == f"{program.pid}\n"
    old = program.pid
    assert program.run().returncode == 0
    program.pid = int(program.read(program.pidfile))
    assert program.pid != old


def test_a_file_with_the_process_group(daemon, tmp_path):
    path = tmp_path / "group"
    program = daemon("--count", 2, "--group-file", path)
    group = int(path.read_text())
    assert {os.getpgid(pid) for pid in program.family()} == {group}
    program.stop()
    assert not path.exists()


@pytest.mark.parametrize("arguments,code,says", [
    (["--pidfile", "/no/such/folder/pid"], 1, "/no/such/folder"),
    (["--log-file", "/no/such/folder/log"], 1, "cannot open the log file /no/such/folder/log"),
    (["--user", "nobody-of-that-name"], 1, "there is no user nobody-of-that-name"),
    (["--ids", "1,1"], 2, "has the id 1 twice"),
    (["--out-file", "/no/such/folder/out"], 1, "No such file or directory")])
def test_what_is_wrong_is_told_where_it_was_started(tmp_path, arguments, code, says):
    done = subprocess.run([SUPERVISED, "--daemon", *arguments], capture_output=True, text=True,
                          timeout=20, stdin=subprocess.DEVNULL, check=False)
    assert says in done.stderr
    assert done.returncode == code
    assert done.stderr.count(says) == 1


def test_what_is_no_pid_file_is_left(tmp_path):
    dear = tmp_path / "dear"
    dear.write_text("important words\n")
    link = tmp_path / "link"
    link.symlink_to(dear)
    for path, says in ((dear, "is no pid file; choose another path"),
                       (tmp_path, "is a directory; name a file in it"),
                       (link, "is a symbolic link")):
        for option in ("--pidfile", "--group-file"):
            done = subprocess.run([SUPERVISED, option, path], capture_output=True, text=True,
                                  timeout=20, stdin=subprocess.DEVNULL, check=False)
            assert done.returncode == 1
            assert str(path) in done.stderr and says in done.stderr
    assert dear.read_text() == "important words\n"
    assert link.is_symlink()


@pytest.mark.skipif(bool(os.environ.get("CREW_CFLAGS")), reason="a sanitizer is to be loaded first")
@pytest.mark.parametrize("early", [signal.SIGHUP, signal.SIGTTOU, signal.SIGUSR1])
def test_a_signal_while_it_starts_does_not_end_it(daemon, early):
    program = daemon("--count", 1, env={**os.environ, **EARLY, "EARLY_SIGNAL": str(int(early))})
    assert program.done.returncode == 0, program.done.stderr
    assert is_alive(program.pid)


@pytest.mark.skipif(bool(os.environ.get("CREW_CFLAGS")), reason="a sanitizer is to be loaded first")
def test_who_waits_for_it_can_be_interrupted(tmp_path):
    """By a signal that the daemon would hold until it is up."""
    pidfile = tmp_path / "pid"
    stops = {**os.environ, **EARLY, "EARLY_SIGNAL": str(int(signal.SIGSTOP))}
    with subprocess.Popen([SUPERVISED, "--daemon", "--pidfile", pidfile], env=stops,
                          stdin=subprocess.DEVNULL) as caller:
        wait_for(pidfile.exists, what="a daemon that starts")
        pid = int(pidfile.read_text())
        wait_for(lambda: status_of(pid)["State"].startswith("T"))
        assert caller.poll() is None
        caller.send_signal(signal.SIGHUP)
        assert caller.wait(10) == -signal.SIGHUP
    os.kill(pid, signal.SIGCONT)
    wait_for(lambda: children_of(pid), what="a daemon that is up")
    family = [pid, *children_of(pid)]
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not any(map(is_alive, family)), what="the end of all")


def test_no_line_is_lost_or_split_by_rotation(daemon):
    program = daemon("--count", 4, "--lines", 600, "--log-bytes", 20000, "--log-keep", 50)
    wait_for(lambda: program.log().count("line 599 of child") == 4)
    program.stop()
    log = program.log()
    for index in range(4):
        assert re.findall(rf"^\S+ info +kids\[{index}\] \d+: line (\d+) of child {index}$", log,
                          re.M) == [str(number) for number in range(600)]
    folder = os.path.dirname(program.log_path)
    logs = [name for name in os.listdir(folder) if name.startswith("log")]
    assert len(logs) > 5
    # What the program prints itself may come between two looks at the size.
    assert all(os.path.getsize(os.path.join(folder, name)) < 22000 for name in logs)


def test_old_logs_are_kept_up_to_a_number(daemon):
    program = daemon("--count", 2, "--lines", 3000, "--log-bytes", 10000, "--log-keep", 3)
    wait_for(lambda: re.search(r"line 2999 of child \d", program.log()))
    program.stop()
    names = sorted(name for name in os.listdir(os.path.dirname(program.log_path))
                   if name.startswith("log"))
    assert names == ["log", "log.1", "log.2", "log.3"]


def test_usr1_reopens_a_log_that_was_moved(daemon):
    program = daemon("--count", 1)
    moved = program.log_path + "-moved"
    os.rename(program.log_path, moved)
    os.kill(program.pid, signal.SIGUSR1)
    wait_for(lambda: os.path.exists(program.log_path))
    assert fds_of(program.pid)["2"] == program.log_path
    program.stop()
    assert "stopping" in program.log() and "stopping" not in program.read(moved)


@pytest.mark.skipif(not ROOT, reason="only root can become somebody else")
def test_it_becomes_another_user_after_what_needs_root(daemon):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.set_inheritable(True)
        program = daemon("--count", 2, "--user", "nobody", "--preserve", listener.fileno(),
                         pass_fds=[listener.fileno()])
        import grp
        import pwd
        nobody = pwd.getpwnam("nobody")
        wait_for(lambda: len(program.family()) == 3)
        for pid in program.family():
            status = status_of(pid)
            assert status["Uid"].split() == [str(nobody.pw_uid)] * 4
            assert status["Gid"].split() == [str(nobody.pw_gid)] * 4
            groups = {int(word) for word in status["Groups"].split()}
            assert groups <= {nobody.pw_gid} | {
                group.gr_gid for group in grp.getgrall() if "nobody" in group.gr_mem}
        child = children_of(program.pid)[0]
        assert any(name.startswith("socket:") for name in fds_of(child).values())
        assert program.read(program.pidfile) == f"{program.pid}\n"


@pytest.mark.skipif(not ROOT, reason="only root can become somebody else")
@pytest.mark.parametrize("arguments,user", [
    (["--group", "daemon"], "root"), (["--user", "nobody", "--group", "daemon"], "nobody")])
def test_a_group_that_is_not_the_user_s(tmp_path, arguments, user):
    import grp
    import pwd
    server = Server(str(tmp_path), arguments, program=HELLO)
    for pid in (server.pid, *children_of(server.pid)):
        status = status_of(pid)
        assert status["Uid"].split() == [str(pwd.getpwnam(user).pw_uid)] * 4
        assert status["Gid"].split() == [str(grp.getgrnam("daemon").gr_gid)] * 4
    assert server.stop() == 0


@pytest.mark.skipif(not ROOT, reason="only root can become somebody else")
@pytest.mark.parametrize("program", [
    [SUPERVISED], [HELLO, "--listen", "127.0.0.1:0"]])
@pytest.mark.parametrize("with_log", [False, True])
def test_where_no_child_can_be_started_who_started_it_is_told(tmp_path, program, with_log):
    """No process of that user's is left to be had (setrlimit(2), RLIMIT_NPROC)."""
    tmp_path.chmod(0o755)
    log = ["--log-file", str(tmp_path / "log")] if with_log else []
    done = subprocess.run(["prlimit", "--nproc=1", *program, "--daemon", "--user", "nobody", *log],
                          capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL,
                          check=False)
    assert re.search(r"cannot start the (children|processes): Resource temporarily unavailable",
                     done.stderr)
    assert done.returncode == 1


@pytest.mark.skipif(not ROOT, reason="only root can become somebody else")
def test_a_log_that_cannot_be_rotated_is_told_of(tmp_path):
    tmp_path.chmod(0o755)
    program = Daemon(str(tmp_path), "--count", 1, "--user", "nobody")
    try:
        import pwd
        assert os.stat(program.log_path).st_uid == pwd.getpwnam("nobody").pw_uid
        assert "cannot be rotated: user nobody may not write to its directory" in program.log()
    finally:
        program.stop()
    os.chown(program.log_path, 0, 0)
    again = Daemon(str(tmp_path), "--count", 1, "--user", "nobody")
    again.stop()
    assert os.stat(again.log_path).st_uid == 0, "what was there is not given away"


def test_a_relative_file_of_a_stream_is_where_it_was_started(daemon, tmp_path):
    program = daemon("--count", 1, "--lines", 3, "--out-file", "lines", cwd=tmp_path)
    wait_for(lambda: "line 2 of child 0" in program.read(tmp_path / "lines"))


def make_program(path):
    path.write_text("#!/bin/sh\necho \"it works in $PWD\"\nexec sleep 600\n", encoding="ascii")
    path.chmod(0o755)


def test_a_relative_program_is_where_it_was_started(daemon, tmp_path):
    make_program(tmp_path / "program")
    program = daemon("--count", 1, "--", "./program", cwd=tmp_path)
    wait_for(lambda: "it works in /\n" in program.log(), what="the program")


def test_a_relative_directory_is_where_it_was_started(daemon, tmp_path):
    (tmp_path / "work").mkdir()
    make_program(tmp_path / "work" / "program")
    program = daemon("--count", 1, "--work-in", "work", "--", "./program", cwd=tmp_path)
    wait_for(lambda: f"it works in {tmp_path}/work\n" in program.log(), what="the program")


@pytest.mark.skipif(not ROOT, reason="only root can become somebody else")
def test_files_of_streams_are_the_users(tmp_path):
    import pwd
    nobody = pwd.getpwnam("nobody").pw_uid
    tmp_path.chmod(0o755)
    lines = tmp_path / "lines"
    arguments = ("--count", 1, "--user", "nobody", "--out-file", lines, "--lines", 3)
    program = Daemon(str(tmp_path), *arguments)
    try:
        assert program.done.returncode == 0, program.done.stderr
        wait_for(lambda: "line 2 of child 0" in program.read(lines))
        assert lines.stat().st_uid == nobody
        assert (f"the log file {lines} cannot be rotated: user nobody may not write to its "
                "directory") in program.log()
        moved = tmp_path / "moved"
        lines.rename(moved)
        os.kill(program.pid, signal.SIGUSR1)
        wait_for(lambda: f"cannot reopen the file {lines}: Permission denied; writing to the "
                         "old one" in program.log())
        moved.rename(lines)
    finally:
        program.stop()
    os.chown(lines, 0, 0)
    again = Daemon(str(tmp_path), *arguments)
    again.stop()
    assert lines.stat().st_uid == 0, "what was there is not given away"


@pytest.mark.skipif(not ROOT, reason="only root can mount a small disk")
def test_a_full_disk_drops_lines_and_the_service_goes_on(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(small)],
                             capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("this machine lets nobody mount")
    program = None
    try:
        program = Daemon(str(small), "--count", 2, "--lines", 20, "--log-bytes", 1 << 20)
        assert program.done.returncode == 0, program.done.stderr
        wait_for(lambda: program.log().count("line 19 of child") == 2)
        filler = small / "filler"
        fd = os.open(filler, os.O_WRONLY | os.O_CREAT)
        try:
            while True:
                os.write(fd, b"x" * 4096)
        except OSError:
            os.close(fd)
        for _ in range(30):  # each death and each start is some lines
            for pid in children_of(program.pid):
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        assert is_alive(program.pid)
        wait_for(lambda: len(children_of(program.pid)) == 2, what="the children, all the same")
        filler.unlink()
        os.kill(children_of(program.pid)[0], signal.SIGKILL)
        wait_for(lambda: "lines were dropped: No space left on device" in program.log())
        for line in program.log().splitlines():
            assert re.match(r"\S+Z \w+ +(kids\[\d\] \d+|parent): |\{|\d+ lines were", line), line
        program.stop()
    finally:
        if program:
            program.stop(signal.SIGKILL)
        subprocess.run(["umount", "-l", str(small)], check=False)


@pytest.mark.skipif(not ROOT, reason="only root can mount a small disk")
@pytest.mark.parametrize("where", ["log", "stream"])
def test_what_a_full_disk_lost_is_counted_once(tmp_path, where):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)],
                             capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("this machine lets nobody mount")
    path = small / "log" if where == "log" else small / "lines"
    filler = small / "filler"
    lines = 200
    process = None
    try:
        path.write_bytes(b"")
        with open(filler, "wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * 4096)
            except OSError:
                pass
        arguments = ["--log-file", path] if where == "log" else ["--out-file", path]
        script = (f"n=0; while [ $n -lt {lines} ]; do echo line $n; n=$((n + 1)); done; "
                  "exec sleep 1000")
        process = subprocess.Popen([SUPERVISED, "--quiet", "--count", "1", *arguments, "--",
                                    "/bin/sh", "-c", script], stdin=subprocess.DEVNULL)

        def all_read():
            child = wait_for(lambda: children_of(process.pid))[0]
            with open(f"/proc/{child}/comm", encoding="ascii") as file:
                if file.read() != "sleep\n":
                    return False
            with open(f"/proc/{child}/fd/1", "rb", buffering=0) as pipe:
                left = fcntl.ioctl(pipe.fileno(), termios.FIONREAD, b"....")
                return left == bytes(4)
        wait_for(all_read, 10, "the end of the lines")
        filler.unlink()

        def told():
            text = path.read_text()
            return (len(re.findall(r"line \d+\n", text)) +
                    sum(map(int, re.findall(r"(\d+) lines were dropped", text))))
        wait_for(lambda: told() >= lines, 10, "all lines, or their count")
        process.terminate()
        assert process.wait(10) == 0
        # Of the parent's own some may be among them.
        most = lines + (4 if where == "log" else 0)
        assert lines <= told() <= most, path.read_text()
        assert "written faster" not in path.read_text()
    finally:
        if process:
            process.kill()
            process.wait()
        subprocess.run(["umount", "-l", str(small)], check=False)


def test_started_from_a_supervised_shell_without_a_terminal(daemon):
    """From cron or ssh: standard streams that are closed are no reason to fail."""
    program = daemon("--count", 1, wrapper=["/bin/sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"])
    assert fds_of(program.pid)["2"] == program.log_path
    wait_for(lambda: "start one 0" in program.log())


def in_background(folder, *arguments, **options):
    """A daemon without a log file: what subprocess.run() said, and its number."""
    pidfile = folder / "pid"
    done = subprocess.run([SUPERVISED, "--daemon", "--quiet", "--count", "1", "--pidfile",
                           pidfile, *arguments], stdin=subprocess.DEVNULL, timeout=20,
                          check=False, **options)
    assert done.returncode == 0
    return done, int(pidfile.read_text())


def kill_a_child(pid):
    os.kill(wait_for(lambda: children_of(pid))[0], signal.SIGKILL)


def end(pid):
    family = [pid, *children_of(pid)]
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not any(map(is_alive, family)), 15, "the end of the daemon")


def test_what_was_redirected_to_a_file_stays_so(tmp_path):
    path = tmp_path / "errors"
    with open(path, "wb") as file:
        done, pid = in_background(tmp_path, stdout=subprocess.PIPE, stderr=file)
    try:
        assert done.stdout == b""
        assert fds_of(pid)["1"] == "/dev/null", "a pipe, whose reader waits for our end"
        kill_a_child(pid)
        wait_for(lambda: "died: signal 9" in path.read_text())
        assert "no log file" not in path.read_text()
    finally:
        end(pid)


def test_a_log_that_goes_nowhere_is_told_of(tmp_path):
    done, pid = in_background(tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert b"a daemon without a log file: its log goes nowhere" in done.stderr
        assert fds_of(pid)["1"] == fds_of(pid)["2"] == "/dev/null"
    finally:
        end(pid)


def test_a_log_that_the_program_takes_goes_somewhere(tmp_path):
    path = tmp_path / "taken"
    done, pid = in_background(tmp_path, "--take-log", path, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE)
    try:
        kill_a_child(pid)
        wait_for(lambda: path.exists() and "died: signal 9" in path.read_text())
        assert b"goes nowhere" not in done.stderr
        assert "goes nowhere" not in path.read_text()
    finally:
        end(pid)


@pytest.mark.parametrize("journal", [True, False])
def test_the_journal_is_kept_and_no_other_socket(tmp_path, journal):
    ours, theirs = socket.socketpair()
    status = os.fstat(theirs.fileno())
    environment = {name: value for name, value in os.environ.items() if name != "JOURNAL_STREAM"}
    if journal:
        environment["JOURNAL_STREAM"] = f"{status.st_dev}:{status.st_ino}"
    with ours:
        with theirs:
            _, pid = in_background(tmp_path, stdout=theirs, stderr=theirs, env=environment)
        try:
            kill_a_child(pid)
            ours.settimeout(10)
            text = b""
            while b"died: signal 9" not in text and (part := ours.recv(65536)):
                text += part
            assert (b"died: signal 9" in text) == journal, text
        finally:
            end(pid)


def run_with_log(where, *arguments, wrapper=(), **options):
    return subprocess.Popen([*wrapper, SUPERVISED, "--quiet", "--count", "1", "--log-file", where,
                             *arguments], stdin=subprocess.DEVNULL, **options)


def fill(fd):
    """Until not one byte more goes in; then it blocks again, as it did."""
    os.set_blocking(fd, False)
    for size in (65536, 1):
        try:
            while True:
                os.write(fd, b"." * size)
        except BlockingIOError:
            pass
    os.set_blocking(fd, True)


@pytest.mark.parametrize("kind", ["pipe", "fifo"])
def test_a_log_that_nobody_reads_on_holds_nobody_up(tmp_path, kind):
    """As of a container whose standard output is a pipe."""
    where = "/dev/stdout"
    if kind == "pipe":
        read_end, write_end = os.pipe()
    else:
        where = tmp_path / "fifo"
        os.mkfifo(where)
        read_end = os.open(where, os.O_RDONLY | os.O_NONBLOCK)
        write_end = os.open(where, os.O_WRONLY)
    process = run_with_log(where, stdout=write_end if kind == "pipe" else None)
    try:
        before = wait_for(lambda: children_of(process.pid))
        fill(write_end)
        os.close(write_end)
        for number in range(3):
            os.kill(before[0], signal.SIGKILL)
            before = wait_for(lambda: (after := children_of(process.pid)) and after != before and
                              after, what=f"successor {number}")
        text = b""
        while b"of this process's lines" not in text:
            assert select.select([read_end], [], [], 10)[0], text[-500:]
            text += os.read(read_end, 65536)
        process.terminate()
        assert process.wait(10) == 0
        assert b"signal SIGTERM" in text + os.read(read_end, 65536)
    finally:
        process.kill()
        process.wait()
        os.close(read_end)


def test_a_socket_may_be_standard_output(tmp_path):
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            process = run_with_log("/dev/stdout", stdout=theirs, stderr=subprocess.DEVNULL)
        try:
            kill_a_child(process.pid)
            ours.settimeout(10)
            text = b""
            while b"died: signal 9" not in text and (part := ours.recv(65536)):
                text += part
            assert b"died: signal 9" in text
        finally:
            process.terminate()
            assert process.wait(10) == 0


def test_standard_error_may_be_the_log_file(tmp_path):
    path = tmp_path / "errors"
    with open(path, "wb") as file:
        process = run_with_log("/dev/stderr", stdout=subprocess.PIPE, stderr=file)
    kill_a_child(process.pid)
    wait_for(lambda: "died: signal 9" in path.read_text())
    process.terminate()
    assert process.communicate(timeout=10)[0] == b"" and process.returncode == 0


def test_a_fifo_without_a_reader_is_refused(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    for how in ("--log-file", "--out-file"):
        done = subprocess.run([SUPERVISED, "--count", "1", how, path], capture_output=True,
                              stdin=subprocess.DEVNULL, timeout=10, text=True, check=False)
        assert done.returncode == 1 and str(path) in done.stderr
    assert "use CREW_TO_FD" in done.stderr


# A /dev of its own: were the name rotated, it would be that of the whole machine.
OWN_DEVICES = """
mkdir "$0" && mount --bind /dev "$0" && mount -t tmpfs tmpfs /dev || exit 77
ln -s /proc/self/fd /dev/fd && ln -s fd/1 /dev/stdout && ln -s "$0/null" /dev/null
exec "$@"
"""


@pytest.mark.skipif(not ROOT, reason="only root can have a /dev of his own")
def test_standard_output_is_never_rotated(tmp_path):
    path = tmp_path / "output"
    check = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
    if check.returncode != 0:
        pytest.skip("this machine lets nobody unshare")
    with open(path, "wb") as file:
        process = run_with_log("/dev/stdout", "--lines", "300", "--log-bytes", "2000",
                               wrapper=["unshare", "--mount", "/bin/sh", "-c", OWN_DEVICES,
                                        str(tmp_path / "devices")], stdout=file, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: path.read_text().count(" of child 0") == 300, 10)
        links = os.listdir(f"/proc/{process.pid}/root/dev")
        assert "stdout" in links and "stdout.1" not in links
    finally:
        process.terminate()
        assert process.wait(10) == 0


def test_the_file_is_rotated_and_not_the_name_that_leads_to_it(daemon, tmp_path):
    real = tmp_path / "real"
    real.mkdir()
    link = tmp_path / "link"
    link.symlink_to(real / "log")
    program = daemon("--count", 1, "--lines", 300, "--log-file", link, "--log-bytes", 4000,
                     "--log-keep", 50)

    def text():
        return "".join(program.read(path) for path in sorted(
            real.iterdir(), key=lambda path: -int(path.suffix[1:] or 0)))
    wait_for(lambda: text().count(" of child 0\n") == 300)
    assert os.readlink(link) == str(real / "log")
    assert len(list(real.iterdir())) > 3
    # Where it leads by now counts when files are opened anew.
    link.unlink()
    link.symlink_to(real / "other")
    os.kill(program.pid, signal.SIGUSR1)
    wait_for((real / "other").exists)
    program.stop()
    assert "stopping" in program.read(real / "other")
