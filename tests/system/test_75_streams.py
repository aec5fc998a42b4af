# SPDX-License-Identifier: MIT
"""What children print: by line, whole, in order, in their names; never at the cost of the
supervisor."""
import os
import re
import signal
import time

import pytest

from conftest import wait_for
from supervised import supervised  # noqa: F401


def lines_of(text, index):
    return re.findall(rf"kids\[{index}\] \d+: line (\d+) of child {index}$", text, re.M)


def test_lines_come_whole_in_order_and_marked(supervised):
    program = supervised("--count", 4, "--lines", 3000)
    pids = {program.wait("ready", number)["pid"] for number in range(1, 5)}
    wait_for(lambda: program.log().count("line 2999 of child") == 4)
    assert program.stop() == 0
    for index in range(4):
        assert lines_of(program.log(), index) == [str(n) for n in range(3000)]
    marks = set(re.findall(r"kids\[\d\] (\d+): line", program.log()))
    assert {int(mark) for mark in marks} == pids


def test_last_words_without_a_newline_and_long_lines(supervised):
    program = supervised("--count", "1", "--", "/bin/sh", "-c",
                         "head -c 20000 /dev/zero | tr '\\0' x; echo; printf 'no newline'; "
                         "printf 'an error' >&2; sleep 0.1; kill -9 $$")
    program.wait("death")
    wait_for(lambda: "no newline" in program.log())
    log = program.log()
    assert re.search(r"info +kids\[0\] \d+: no newline\n", log)
    assert re.search(r"warning +kids\[0\] \d+: an error\n", log)
    xs = "".join(re.findall(r"kids\[0\] \d+: (x+)", log))
    assert xs[:20000] == "x" * 20000, "a long line is cut in pieces of 8 KiB, and none is lost"
    program.stop()


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_what_was_printed_is_there_when_the_child_is_killed(supervised, kind):
    program = supervised("--kind", kind, "--count", 1, "--input", "--own-loop")
    pid = program.wait("ready")["pid"]
    program.command("send 0 mutter last words")
    wait_for(lambda: re.search(r"kids(\[0\])? \d+: last words", program.log()))
    os.kill(pid, signal.SIGKILL)
    program.wait("death")
    program.command("deaths")
    assert "last: last words" in program.other
    # The parent has printed since, into the buffer that its next child begins with.
    program.wait("ready")
    program.command("send 0 mutter more words")
    wait_for(lambda: re.search(r"kids(\[0\])? \d+: more words", program.log()))
    program.command("stop")
    assert program.process.wait(10) == 0


def test_a_line_may_say_its_priority(supervised):
    program = supervised("--count", "1", "--level", 10, "--", "/bin/sh", "-c",
                         "echo '<3>bad'; echo '<7>detail' >&2; echo '<134>more'; echo '<9>what'; sleep 100")
    wait_for(lambda: "what" in program.log())
    assert re.search(r"error +kids\[0\] \d+: bad\n", program.log())
    assert re.search(r"debug +kids\[0\] \d+: detail\n", program.log())
    assert re.search(r"info +kids\[0\] \d+: <9>what\n", program.log())
    assert re.search(r"info +kids\[0\] \d+: <134>more\n", program.log())
    program.stop()


def test_control_bytes_cannot_forge_a_line(supervised):
    program = supervised("--count", "1", "--", "/usr/bin/printf",
                         r"one\rtwo\033[31m\000three\n")
    wait_for(lambda: "three" in program.log())
    assert r"one\x0dtwo\x1b[31m\x00three" in program.log()
    program.stop()


def test_json_lines_pass_unmarked_by_option(supervised):
    script = "echo '{\"a\": 1}'; echo 'not json'; echo '{\"b\": [2]}'; sleep 100"
    program = supervised("--count", "1", "--json", "--", "/bin/sh", "-c", script)
    wait_for(lambda: '{"b": [2]}' in program.log())
    assert "\n{\"a\": 1}\n" in "\n" + program.log()
    assert re.search(r"kids\[0\] \d+: not json\n", program.log())
    program.stop()
    program = supervised("--count", "1", "--", "/bin/sh", "-c", script)
    wait_for(lambda: '{"b": [2]}' in program.log())
    assert re.search(r"kids\[0\] \d+: \{\"a\": 1\}\n", program.log())
    program.stop()


def test_to_a_file_that_is_rotated(supervised, tmp_path):
    path = tmp_path / "out"
    program = supervised("--count", 2, "--lines", 4000, "--out-file", path, "--out-bytes", 20000)
    program.wait("ready", 2)

    def numbers(index):
        text = ""
        for file in sorted(tmp_path.glob("out*"), key=lambda file: -int(file.suffix[1:] or 0)):
            try:
                text += file.read_text()
            except FileNotFoundError:  # rotated away since it was listed
                return []
        return lines_of(text, index)
    wait_for(lambda: numbers(0)[-1:] == ["3999"] and numbers(1)[-1:] == ["3999"])
    files = sorted(file.name for file in tmp_path.glob("out*"))
    assert len(files) == 9 and files[-1] == "out.8", "the current one, and eight old ones"
    for file in tmp_path.glob("out*"):
        assert file.stat().st_size <= 20000
        assert file.read_text().endswith("\n")
    kept = [int(number) for number in numbers(0)]
    assert kept == list(range(kept[0], 4000)), "no line is lost where files are"
    assert "line 5 of" not in program.log()
    moved = tmp_path / "moved"
    path.rename(moved)
    program.process.send_signal(signal.SIGUSR1)
    wait_for(path.exists)
    assert program.stop() == 0
    assert "shutdown 0" in path.read_text()


def test_a_program_with_its_own_loop_reopens_files_itself(supervised, tmp_path):
    path = tmp_path / "out"
    program = supervised("--count", 1, "--lines", 1, "--own-loop", "--out-file", path)
    wait_for(lambda: path.exists() and "line 0" in path.read_text())
    path.rename(tmp_path / "moved")
    assert program.command("reopen")[0] == 0
    assert path.read_text() == ""
    program.command("stop")
    assert program.process.wait(10) == 0
    assert "shutdown 0" in path.read_text()


def test_to_nowhere_and_to_a_descriptor(supervised):
    program = supervised("--count", 1, "--lines", 3, "--out-to", 3)  # CREW_TO_NULL
    program.wait("ready")
    time.sleep(0.2)
    assert program.stop() == 0
    assert "line 0" not in program.log() and "line 0" not in "".join(program.other)
    program = supervised("--count", 1, "--lines", 3, "--out-to", 2)  # CREW_TO_FD 1
    program.wait("ready")
    wait_for(lambda: len(program.other) >= 5)
    assert re.fullmatch(r"kids\[0\] \d+: line 2 of child 0", program.other[4])
    assert program.stop() == 0
    program = supervised("--count", 1, "--lines", 3, "--out-to", 4)  # CREW_TO_PARENT
    program.wait("ready")
    wait_for(lambda: "line 2 of child 0" in program.other)
    assert program.stop() == 0


@pytest.fixture
def stuck_log():
    """A pipe for the log that nobody reads until told to."""
    read_end, write_end = os.pipe()
    yield read_end, write_end
    for fd in (read_end, write_end):
        try:
            os.close(fd)
        except OSError:
            pass


def drain(fd, until, seconds=20):
    """Read slowly until a text came."""
    text = b""
    os.set_blocking(fd, False)
    end = time.monotonic() + seconds
    while until not in text and time.monotonic() < end:
        try:
            text += os.read(fd, 65536)
        except BlockingIOError:
            time.sleep(0.002)
    return text.decode()


def test_a_flood_is_dropped_and_counted_and_holds_up_nobody(supervised, stuck_log):
    read_end, write_end = stuck_log
    program = supervised("--count", 2, "--flood", stderr=write_end)
    program.wait("ready", 2)
    time.sleep(0.5)  # the pipe is full by now
    victim = program.all("ready")[0]
    os.kill(victim["pid"], signal.SIGKILL)
    death = program.wait("death", seconds=5)
    reborn = program.wait("ready", 3, seconds=5)
    assert reborn["at"] - death["at"] < 1, "the supervisor waits for nobody"
    text = drain(read_end, b"lines were dropped")
    dropped = re.search(r"(\d+) lines were dropped: written faster than the log could take them",
                        text)
    assert dropped and int(dropped.group(1)) > 1000
    for line in text.split("\n")[1:-1]:
        assert re.match(r"\d{4}-\d\d-\d\dT\S+Z \w+ +(kids\[\d\] \d+|kids|parent): ", line), line
    os.close(read_end)
    assert program.stop() == 0


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


def test_deaths_that_found_no_room_are_counted_and_told(supervised, stuck_log):
    """Nobody says anything any more: it is told all the same."""
    read_end, write_end = stuck_log
    program = supervised("--count", 3, stderr=write_end)
    program.wait("ready", 3)
    fill(write_end)
    for victim in program.all("ready"):
        os.kill(victim["pid"], signal.SIGKILL)
    program.wait("death", 3)
    program.wait("ready", 6)
    text = drain(read_end, b"of this process's lines", 10)
    dropped = re.search(r"warning +parent: dropped (\d+) of this process's lines", text)
    assert dropped and int(dropped.group(1)) >= 3, text[-500:]
    os.close(read_end)
    assert program.stop() == 0


def count_lines(fd, wanted, seconds=10):
    """Lines that came and lines that are told to be lost, until they are all."""
    text = b""
    seen = 0
    os.set_blocking(fd, False)
    end = time.monotonic() + seconds
    while seen < wanted and time.monotonic() < end:
        try:
            text += os.read(fd, 65536)
        except BlockingIOError:
            time.sleep(0.01)
        seen = len(re.findall(rb"line \d+ of child \d\n", text))
        seen += sum(map(int, re.findall(rb"(\d+) lines were dropped", text)))
    return seen


def test_what_a_child_lost_is_told_though_it_says_no_more(supervised, stuck_log):
    read_end, write_end = stuck_log
    fill(write_end)
    program = supervised("--count", 1, "--lines", 3000, stderr=write_end)
    program.wait("ready")
    # "start one", "start two", and lines.
    assert count_lines(read_end, 3002) == 3002
    os.close(read_end)
    assert program.stop() == 0


def test_repeated_lines_are_told_where_the_line_went(supervised, tmp_path):
    path = tmp_path / "errors"
    program = supervised("--count", 1, "--error-file", path, "--", "/bin/sh", "-c",
                         "printf '<6>same\\n<6>same\\n<6>same\\n'; sleep 100")
    wait_for(lambda: "same" in program.log())
    wait_for(lambda: "the last line was repeated 2 times" in program.log() + path.read_text())
    assert path.read_text() == ""
    assert program.stop() == 0


def test_a_child_that_may_wait_loses_nothing(supervised, stuck_log):
    read_end, write_end = stuck_log
    program = supervised("--count", 2, "--lines", 20000, "--wait", stderr=write_end)
    program.wait("ready", 2)
    time.sleep(0.5)  # they stand still now, with the pipe full
    os.kill(program.pid, 0)
    text = drain(read_end, b"line 19999 of child 0", 60)
    if "line 19999 of child 1" not in text:
        text += drain(read_end, b"line 19999 of child 1", 60)
    for index in range(2):
        assert lines_of(text, index) == [str(n) for n in range(20000)]
    assert "dropped" not in text
    os.close(read_end)
    assert program.stop() == 0
