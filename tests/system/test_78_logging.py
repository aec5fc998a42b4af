# SPDX-License-Identifier: MIT
"""The log: its forms, levels by pool and at run time, repeated lines, whole lines."""
import json
import os
import pty
import re
import shlex
import signal
import subprocess
import threading
import urllib.parse

import pytest

from client import Client
from conftest import BUILD, SAMPLER, Server, children_of, free_port, wait_for

NASTY = ['quote " and \\ backslash', "two\nlines", "\x1b[31mred\x1b[0m", "tab\there",
         "grüße 😀", "<3>priority", '{"a":1}', "a=b c", "x" * 3000]


def say(client, text, level=20):
    target = f"/log/{level}?text=" + urllib.parse.quote(text)
    answer = client.request("POST", target, b"")
    assert answer.status == 200
    return json.loads(answer.body)["written"]


def stop(server):
    server.stop()
    return server.log()


def test_json_lines(start):
    server = start("--workers", "2", "--log-format", "json", "--log-level", "debug")
    with server.client() as client:
        for text in NASTY:
            say(client, text)
        client.request("POST", "/log/40?text=%ff%fe%00x", b"")
        client.get("/fail/500")
    lines = [json.loads(line) for line in stop(server).splitlines()]
    assert all(list(line)[:3] == ["time", "level", "origin"] for line in lines)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
               for line in lines)
    said = [line for line in lines if re.fullmatch(r"sampler\[\d\]", line["origin"])]
    assert all(line["pid"] > 1 for line in said)
    messages = [line["message"] for line in said]
    for text in NASTY:
        # A child escapes control characters, so that one message is one line.
        wanted = text.replace("\n", "\\n").replace("\x1b", "\\x1b")
        assert wanted in messages, text
    assert any("as you wished" in line["message"] and line["level"] == "error" for line in said)
    assert any(line["origin"] == "parent" and "pid" not in line for line in lines)


def test_logfmt_lines(start):
    server = start("--workers", "1", "--log-format", "logfmt")
    with server.client() as client:
        for text in NASTY:
            say(client, text)
    for line in stop(server).splitlines():
        pairs = dict(part.split("=", 1) for part in shlex.split(line, posix=True))
        assert set(pairs) >= {"time", "level", "origin", "msg"}, line


def test_the_form_of_the_journal(start):
    server = start("--workers", "1", "--log-format", "systemd")
    with server.client() as client:
        say(client, "noted", 30)
    assert re.search(r"^<4>sampler\[0\] \d+: noted$", stop(server), re.M)


def test_a_log_file_has_the_form_too(start, tmp_path):
    path = tmp_path / "log"
    port = free_port()
    process = subprocess.Popen([SAMPLER, "--listen", f"127.0.0.1:{port}", "--workers", "1",
                                "--log-file", path, "--log-format", "json"],
                               stdin=subprocess.DEVNULL)
    try:
        wait_for(lambda: path.exists() and "listening" in path.read_text())
    finally:
        process.terminate()
        assert process.wait(10) == 0
    for line in path.read_text().splitlines():
        json.loads(line)


def test_the_first_line_is_a_line_of_the_log(tmp_path):
    """How many workers there are where nobody says it: in the log file, in its form."""
    path = tmp_path / "log"
    process = subprocess.Popen([SAMPLER, "--listen", "127.0.0.1:0", "--log-file", path,
                                "--log-format", "json"], stdin=subprocess.DEVNULL,
                               stderr=subprocess.PIPE)
    try:
        wait_for(lambda: path.exists() and "listening" in path.read_text())
    finally:
        process.terminate()
        said = process.communicate(timeout=10)[1]
    assert said == b""
    first = json.loads(path.read_text().splitlines()[0])
    assert re.search(r"sampler: \d+ workers \(", first["message"])


def test_a_wrong_form_is_refused():
    done = subprocess.run([SAMPLER, "--log-format", "xml"], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, check=False, timeout=10)
    assert done.returncode == 2
    assert "--log-format takes auto, plain, systemd, json or logfmt, not \"xml\"" in done.stderr


@pytest.mark.parametrize("no_colour", [False, True])
def test_colours_on_a_terminal_alone(no_colour):
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm"}
    environment.pop("NO_COLOR", None)
    if no_colour:
        environment["NO_COLOR"] = "1"
    process = subprocess.Popen([SAMPLER, "--listen", "127.0.0.1:0", "--workers", "1",
                                "--log-level", "debug"], stdin=subprocess.DEVNULL,
                               stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    text = b""
    while b"listening" not in text:
        text += os.read(master, 65536)
    process.terminate()
    while True:
        try:
            data = os.read(master, 65536)
        except OSError:
            break
        if not data:
            break
        text += data
    assert process.wait(10) == 0
    os.close(master)
    assert (b"\x1b[" in text) == (not no_colour)


def test_a_terminal_that_nobody_reads_holds_nobody_up():
    """The parent goes on: it restarts who dies, and stops."""
    master, slave = pty.openpty()
    port = free_port()
    process = subprocess.Popen([SAMPLER, "--listen", f"127.0.0.1:{port}", "--workers", "1"],
                               stdin=subprocess.DEVNULL, stdout=slave, stderr=slave)
    os.close(slave)
    try:
        text = b""
        while b"listening" not in text:
            text += os.read(master, 65536)
        with Client(("127.0.0.1", port)) as client:
            for number in range(60):
                say(client, f"{number} " + "x" * 1000)
        before = children_of(process.pid)
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: len(set(children_of(process.pid)) - set(before)) == len(before))
        process.terminate()
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        os.close(master)


def test_levels_of_a_pool(start):
    """One pool at debug while the rest is at info; and the other way round."""
    server = start("--workers", "1", SAMPLER_LOG_LEVEL="10")
    with server.client() as client:
        assert say(client, "a detail", 10)
        wait_for(lambda: re.search(r"debug +sampler\[0\] \d+: a detail", server.log()))
    assert "debug    parent" not in server.log()
    server = start("--workers", "1", "--log-level", "debug", SAMPLER_LOG_LEVEL="40")
    with server.client() as client:
        assert not say(client, "unsaid", 30)
        assert say(client, "said", 40)
        wait_for(lambda: "said" in server.log())
    assert "unsaid" not in server.log()


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_levels_at_run_time(start, kind):
    server = start("--workers", "2", "--worker-class", kind)
    with server.client() as client:
        assert not say(client, "before", 10)
        assert client.request("POST", "/level/10").status == 200
        wait_for(lambda: say(client, "during", 10))
        wait_for(lambda: "during" in server.log())
        os.kill(server.workers()[0], 9)
        wait_for(lambda: server.get("/hello").status == 200)
        for _ in range(10):
            with server.client() as other:
                assert say(other, "those that start later too", 10)
        assert server.get("/hello").status == 200
        with server.client() as other:
            assert other.request("POST", "/level/50?all=1").status == 200
            wait_for(lambda: not say(other, "until the parent has heard it", 40))
            assert not say(other, "after", 40)
            assert other.request("POST", "/level/5").status == 400
    assert "before" not in server.log() and ": after" not in server.log()


def test_lines_of_threads_say_whose_they_are(start):
    server = start("--workers", "3", "--worker-class", "thread", "--log-format", "json")
    with server.client() as client:
        # Who is paused leaves the next to another.
        for number in range(2):
            assert client.request("POST", "/pause/60000", b"").status == 200
            say(client, f"line {number}")
    lines = [json.loads(line) for line in stop(server).splitlines()]
    origins = [line["origin"] for line in lines if line["message"].startswith("line ")]
    assert len(origins) == 2 and origins[0] != origins[1]
    assert set(origins) <= {"sampler[0]", "sampler[1]", "sampler[2]"}


def test_a_repeated_line_is_counted(start):
    server = start("--workers", "1", SAMPLER_LOG_REPEAT_MS="300")
    with server.client() as client:
        for _ in range(25):
            say(client, "again", 30)
        say(client, "something else", 30)
        for _ in range(7):
            say(client, "and again", 30)
        wait_for(lambda: "the last line was repeated 6 times" in server.log())
        for _ in range(4):
            say(client, "at the end", 30)
    log = stop(server)
    told = re.findall(r"warning +sampler\[0\] \d+: (.*)", log)
    total = {"again": 0, "something else": 0, "and again": 0, "at the end": 0}
    last = None
    for line in told:
        times = re.fullmatch(r"the last line was repeated (\d+) times", line)
        if times:
            total[last] += int(times.group(1))
        else:
            last = line
            total[line] += 1
    assert total == {"again": 25, "something else": 1, "and again": 7, "at the end": 4}
    assert len(told) < 20


def test_each_line_can_be_had(start):
    server = start("--workers", "1", SAMPLER_LOG_REPEAT_MS=str(2**32 - 1))
    with server.client() as client:
        for _ in range(25):
            say(client, "again", 30)
    assert stop(server).count(": again\n") == 25


def test_lines_of_many_workers_stay_whole(start):
    server = start("--workers", "8", "--log-format", "json")

    def talk(number):
        with server.client(timeout=30) as client:
            for turn in range(60):
                say(client, f"{number}.{turn}." + chr(97 + number) * 3000)
    threads = [threading.Thread(target=talk, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seen = set()
    dropped = 0
    for line in stop(server).splitlines():
        message = json.loads(line)["message"]
        lost = re.match(r"dropped (\d+) of this process's lines", message)
        dropped += int(lost.group(1)) if lost else 0
        found = re.fullmatch(r"(\d)\.(\d+)\.(\w+)", message)
        if found:
            number, turn, rest = int(found.group(1)), found.group(2), found.group(3)
            assert rest == chr(97 + number) * 3000
            assert (number, turn) not in seen
            seen.add((number, turn))
    assert len(seen) + dropped == 8 * 60, "what a busy parent could not take is told"
    assert len(seen) > 100


def test_the_log_can_be_taken_over(tmp_path):
    server = Server(str(tmp_path), program=os.path.join(BUILD, "tests", "hooked"),
                    environment={"HOOKED_TAKE": "1"})
    try:
        assert server.get("/wrong/log").status == 200
        wait_for(lambda: "error|40|hooked[0]|pid and time|to be taken" in server.log())
        assert not re.search(r"error +hooked\[0\].*to be taken", server.log())
    finally:
        assert server.stop() == 0
