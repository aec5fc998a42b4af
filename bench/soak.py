#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A soak: all endpoints of the sampler at once, while workers are killed, pools are
reloaded and scaled, and configurations are sent. Every answer is checked, every line
that was logged is counted, and the resident sizes of all processes are sampled: over
the second half they must be flat.

    bench/soak.py [--minutes 10] [--build build] [--calm] [--log FILE]

With --calm no worker is killed or replaced: then the sizes of workers count too.

Ends with 0 if no answer was wrong, no line lost or doubled, and nothing grew. The log
stays, by default in the build's folder as soak-PID.log."""
import argparse
import collections
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tests", "system"))
import process  # noqa: E402
import servers  # noqa: E402
from client import Client, Closed  # noqa: E402

GROWTH_KIB = 2048  # of one process, from the middle to the end: the noise of an allocator


class Soak:
    def __init__(self, build, minutes, calm, log_path):
        self.calm = calm
        self.log_path = log_path or os.path.join(build, f"soak-{os.getpid()}.log")
        self.seconds = minutes * 60
        self.stopping = threading.Event()
        self.wrong = collections.Counter()
        self.done = collections.Counter()
        self.lost = collections.Counter()  # to a kill: 502, or a stream that broke off
        self.written = []   # lines that were asked for and confirmed
        self.lock = threading.Lock()
        self.sizes = collections.defaultdict(list)
        self.kills = self.reloads = self.scalings = self.pushes = 0
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [os.path.join(build, "examples", "sampler"), "--listen", "127.0.0.1:0",
                 "--workers", "3"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + 10
        while not (found := re.search(r"listening on (\S+):(\d+)", self.log())):
            assert time.monotonic() < end, self.log()
            time.sleep(0.01)
        self.address = (found.group(1), int(found.group(2)))
        print(f"log: {self.log_path}", flush=True)

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def count(self, what, name):
        with self.lock:
            what[name] += 1

    # ---- clients ----

    def ask(self, client, dice, number):
        kind = dice.choice(["hello", "echo", "defer", "chunks", "count", "ndjson", "bytes",
                            "items", "call", "log", "publish", "private", "static", "drip",
                            "missing", "config"])
        answer, good = None, False
        if kind == "hello":
            answer = client.get("/hello")
            good = answer.body == b'{"message":"hello"}'
        elif kind == "echo":
            body = bytes(dice.getrandbits(8) for _ in range(dice.choice([1, 100, 5000]))) * 9
            answer = client.request("POST", "/echo", body)
            good = answer.body == body
        elif kind == "defer":
            ms = dice.randrange(60)
            answer = client.get(f"/defer/{ms}")
            good = answer.body == b'{"deferred_ms":%d}' % ms
        elif kind == "chunks":
            n = dice.choice([0, 3, 20000])
            answer = client.get(f"/chunks/{n}")
            good = answer.body == b"".join(b"chunk %d\n" % i for i in range(1, n + 1))
        elif kind == "count":
            n = dice.randrange(200)
            answer = client.get(f"/count/{n}")
            good = answer.body == b"".join(b"id: %d\ndata: %d\n\n" % (i, i)
                                           for i in range(1, n + 1))
        elif kind == "ndjson":
            answer = client.get("/ndjson/100")
            good = answer.status == 200 and len(answer.body.splitlines()) == 100
        elif kind == "bytes":
            n = dice.choice([0, 1000, 200000])
            answer = client.get(f"/bytes/{n}")
            good = answer.status == 200 and len(answer.body) == n
        elif kind == "items":
            answer = client.get("/api/items")
            good = answer.status == 200
        elif kind == "call":
            answer = client.get("/call?target=/api/items")
            good = answer.status == 200 and json.loads(answer.body)["status"] in (200, 502)
        elif kind == "log":
            text = f"soak-{number}-{dice.getrandbits(60)}-end"
            answer = client.request("POST", f"/log/20?text={text}", b"")
            good = answer.status == 200
            if good:
                with self.lock:
                    self.written.append(text)
        elif kind == "publish":
            answer = client.request("POST", "/publish", b'{"channel":"soak","msg":"m"}')
            good = answer.status == 200
        elif kind == "private":
            answer = client.get("/private/a", headers=[("X-API-Key", "sesame"),
                                                       ("Cookie", "session=ok")])
            good = answer.status == 200
        elif kind == "static":
            answer = client.get("/static/hello.txt")
            good = answer.status == 200
        elif kind == "drip":
            answer = client.get("/drip/30")
            good = len(answer.body) == 30 * 1024
        elif kind == "missing":
            answer = client.get("/nothing")
            good = answer.status == 404
        elif kind == "config":
            answer = client.get("/config")
            good = answer.status == 200
        self.count(self.done, kind)
        if answer.status == 502:
            self.count(self.lost, kind)
        elif not good:
            self.count(self.wrong, f"{kind}: {answer.status} {answer.body[:80]!r}")

    def client(self, number):
        dice = random.Random(number)
        while not self.stopping.is_set():
            try:
                with Client(self.address, 30) as client:
                    for _ in range(200):
                        if self.stopping.is_set():
                            return
                        self.ask(client, dice, number)
            except (Closed, AssertionError, ConnectionError) as error:
                # A stream whose worker was killed breaks off: that is its promise.
                self.count(self.lost, f"stream ({type(error).__name__})")
            except OSError as error:
                self.count(self.wrong, repr(error))

    def listener(self, number):
        """A subscriber, which comes again whenever its stream ends."""
        while not self.stopping.is_set():
            try:
                with Client(self.address, 5) as client:
                    client.begin("/events?channel=soak")
                    until = time.monotonic() + 20
                    while not self.stopping.is_set() and time.monotonic() < until:
                        event = client.event()
                        if event is None:
                            break
                        if event not in (": subscribed", "data: m"):
                            self.count(self.wrong, f"event {event!r}")
            except (Closed, AssertionError, ConnectionError, TimeoutError):
                pass

    # ---- trouble ----

    def status(self):
        with Client(self.address, 10) as client:
            return json.loads(client.get("/status").body)

    def trouble(self):
        dice = random.Random(99)
        more = 0
        while not self.stopping.wait(dice.uniform(0.2, 1.2)):
            what = dice.choice(["kill", "kill", "reload", "scale", "config"])
            if self.calm:
                what = "config"
            if what == "kill":
                pids = [worker["pid"] for worker in self.status()["pools"][0]["workers"]
                        if worker["pid"] and worker["state"] in ("ready", "busy")]
                if pids:
                    os.kill(dice.choice(pids), dice.choice([signal.SIGKILL, signal.SIGSEGV]))
                    self.kills += 1
            elif what == "reload":
                self.process.send_signal(signal.SIGHUP)
                self.reloads += 1
            elif what == "scale":
                up = more <= 0 or (more < 3 and dice.random() < 0.5)
                self.process.send_signal(signal.SIGTTIN if up else signal.SIGTTOU)
                more += 1 if up else -1
                self.scalings += 1
            else:
                with Client(self.address, 10) as client:
                    client.request("POST", "/config", b'{"n":%d}' % dice.randrange(1000))
                self.pushes += 1

    def sample(self):
        """Resident sizes; where there is trouble the sampler's workers are young."""
        while not self.stopping.wait(1):
            try:
                status = self.status()
                pids = {"parent": self.process.pid,
                        "dispatcher": status["dispatchers"][0]["pid"],
                        "items worker": status["pools"][1]["workers"][0]["pid"]}
                if self.calm:
                    pids.update({f"sampler[{worker['index']}]": worker["pid"]
                                 for worker in status["pools"][0]["workers"]})
            except (OSError, AssertionError, Closed):
                continue
            for name, pid in pids.items():
                try:
                    with open(f"/proc/{pid}/status", encoding="ascii") as file:
                        size = re.search(r"VmRSS:\s+(\d+)", file.read())
                except OSError:
                    continue
                if size:
                    self.sizes[name].append(int(size.group(1)))

    def run(self):
        threads = [threading.Thread(target=self.client, args=(n,)) for n in range(12)]
        threads += [threading.Thread(target=self.listener, args=(n,)) for n in range(20)]
        threads += [threading.Thread(target=self.trouble), threading.Thread(target=self.sample)]
        try:
            for thread in threads:
                thread.start()
            time.sleep(self.seconds)
        finally:
            self.stopping.set()
            for thread in filter(threading.Thread.is_alive, threads):
                thread.join()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(30)
        return self.report(code)

    def report(self, code):
        bad = code != 0
        print(f"exit code {code}; {sum(self.done.values())} requests of {len(self.done)} kinds, "
              f"{self.kills} kills, {self.reloads} reloads, {self.scalings} scalings, "
              f"{self.pushes} configurations")
        print(f"answered 502 or broken off, by kills: {sum(self.lost.values())} "
              f"{dict(self.lost)}")
        print(f"wrong answers: {sum(self.wrong.values())} {dict(self.wrong)}")
        bad |= bool(self.wrong)
        seen = collections.Counter(re.findall(r"soak-\d+-\d+-end", self.log()))
        missing = [text for text in self.written if text not in seen]
        doubled = [text for text, times in seen.items() if times > 1]
        print(f"log lines: {len(self.written)} confirmed, {len(missing)} lost, "
              f"{len(doubled)} doubled")
        bad |= bool(missing or doubled)
        for name, sizes in self.sizes.items():
            half = sizes[len(sizes) // 2:]
            tenth = max(1, len(half) // 10)
            begin, end = statistics.median(half[:tenth]), statistics.median(half[-tenth:])
            print(f"{name}: {begin:.0f} KiB at half time, {end:.0f} KiB at the end, "
                  f"{max(sizes)} KiB at most")
            bad |= end > begin + GROWTH_KIB
        condemned = len(re.findall("condemned", self.log()))
        print(f"condemned workers: {condemned}")
        return 1 if bad or condemned else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--build", default=servers.BUILD)
    parser.add_argument("--calm", action="store_true")
    parser.add_argument("--log", metavar="FILE", help="of the sampler; default BUILD/soak-PID.log")
    options = parser.parse_args()
    process.begin()
    sys.exit(Soak(options.build, options.minutes, options.calm, options.log).run())


if __name__ == "__main__":
    main()
