#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Measure the sampler beside nginx, gunicorn and uvicorn, interleaved in rounds on
one machine. What counts are ratios within a round: the machine's speed drifts.

CPU per request is user and system time of all processes of a server, by the
scheduler's own account (/proc/PID/task/*/schedstat), over the requests answered."""
import argparse
import contextlib
import glob
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SAMPLER = os.path.join(HERE, "..", "build", "examples", "sampler")
ANSWER = '{"message":"hello"}'

WSGI = f"""
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json"),
                              ("Content-Length", "{len(ANSWER)}")])
    return [b'{ANSWER}']
"""
ASGI = f"""
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    await send({{"type": "http.response.start", "status": 200,
                "headers": [(b"content-type", b"application/json"),
                            (b"content-length", b"{len(ANSWER)}")]}})
    await send({{"type": "http.response.body", "body": b'{ANSWER}'}})
"""
NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{ worker_connections 20000; }}
http {{ access_log off; keepalive_requests 1000000000;
client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
server {{ listen 127.0.0.1:{port} backlog=4096; default_type application/json;
location / {{ return 200 '{answer}'; }} }} }}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def family(pid):
    """A process and all its descendants."""
    found = [pid]
    for path in glob.glob(f"/proc/{pid}/task/*/children"):
        with contextlib.suppress(OSError), open(path, encoding="ascii") as file:
            for child in file.read().split():
                found += family(int(child))
    return found


def cpu_ns(pids):
    total = 0
    for pid in pids:
        for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
            with contextlib.suppress(OSError), open(path, encoding="ascii") as file:
                total += int(file.read().split()[0])
    return total


class Contender:
    def __init__(self, name, program, command, path="/", files=None):
        self.name, self.program, self.command, self.path = name, program, command, path
        self.files = files or {}
        self.rows = []

    def is_here(self):
        return shutil.which(self.program) is not None

    @contextlib.contextmanager
    def running(self):
        with tempfile.TemporaryDirectory() as folder:
            port = free_port()
            for name, text in self.files.items():
                with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                    file.write(text.format(folder=folder, port=port, answer=ANSWER)
                               if name.endswith(".conf") else text)
            command = [word.format(folder=folder, port=port) for word in self.command]
            with open(os.path.join(folder, "out"), "wb") as out:
                process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=out)
            try:
                self.wait(port, process, folder)
                yield port, process.pid
            finally:
                process.terminate()
                try:
                    process.wait(15)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def wait(self, port, process, folder):
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as s:
                s.settimeout(2)
                s.sendall(f"GET {self.path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
                if b"200 OK" in s.recv(4096):
                    return
            if process.poll() is not None:
                break
            time.sleep(0.05)
        with open(os.path.join(folder, "out"), encoding="utf-8", errors="replace") as file:
            raise SystemExit(f"bench: {self.name} does not answer:\n{file.read()}")


def seconds_of(text):
    value, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(value) * {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60}[unit]


def measure(contender, port, pid, connections, seconds):
    url = f"http://127.0.0.1:{port}{contender.path}"
    load = ["wrk", "-t1", f"-c{connections}", "--latency"]
    subprocess.run(load + ["-d1s", url], capture_output=True, check=True)
    pids = family(pid)
    before = cpu_ns(pids)
    out = subprocess.run(load + [f"-d{seconds}s", url], capture_output=True, text=True,
                         check=True).stdout
    used = cpu_ns(pids) - before
    requests = int(re.search(r"(\d+) requests in", out).group(1))
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    return {
        "rps": float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1)),
        "p50_us": seconds_of(re.search(r"^ +50% +(\S+)", out, re.M).group(1)) * 1e6,
        "p99_us": seconds_of(re.search(r"^ +99% +(\S+)", out, re.M).group(1)) * 1e6,
        "cpu_us": used / 1000 / max(requests, 1),
        "failed": int(bad.group(1)) if bad else 0,
    }


def contenders():
    def sampler(name, workers, path):
        return Contender(name, SAMPLER, [SAMPLER, "--listen", "127.0.0.1:{port}", "--workers",
                                         str(workers), "--log-level", "warning"], path)
    return [
        sampler("crew /local/hello", 1, "/local/hello"),
        sampler("crew /hello, 1 worker", 1, "/hello"),
        sampler("crew /hello, 2 workers", 2, "/hello"),
        sampler("crew /hello, 4 workers", 4, "/hello"),
        Contender("nginx return 200", "nginx", ["nginx", "-c", "{folder}/nginx.conf"],
                  files={"nginx.conf": NGINX}),
        Contender("gunicorn sync, 2 workers", "gunicorn",
                  ["/usr/bin/gunicorn", "-w2", "-b127.0.0.1:{port}", "app:app"],
                  files={"app.py": WSGI}),
        Contender("uvicorn, 1 worker", "uvicorn",
                  ["/usr/bin/uvicorn", "--port", "{port}", "--no-access-log", "--log-level",
                   "warning", "app:app"], files={"app.py": ASGI}),
    ]


def median(rows, key):
    return statistics.median(row[key] for row in rows)


def ratio(rows, others, key):
    """The median of the ratios within a round."""
    pairs = [a[key] / b[key] for a, b in zip(rows, others) if b[key]]
    return statistics.median(pairs) if pairs else float("nan")


def print_table(all_of, connections):
    by_name = {c.name: c.rows for c in all_of if c.rows}
    nginx = by_name.get("nginx return 200")
    local = by_name.get("crew /local/hello")
    print(f"\n{connections} connections; medians over the rounds, ratios within them")
    print(f"{'':26} {'req/s':>9} {'p50 us':>8} {'p99 us':>8} {'CPU us':>7}"
          f" {'CPU/nginx':>9} {'CPU/local':>9} {'req/s / nginx':>13}")
    for name, rows in by_name.items():
        print(f"{name:26} {median(rows, 'rps'):9.0f} {median(rows, 'p50_us'):8.0f}"
              f" {median(rows, 'p99_us'):8.0f} {median(rows, 'cpu_us'):7.2f}"
              f" {ratio(rows, nginx, 'cpu_us') if nginx else float('nan'):9.2f}"
              f" {ratio(rows, local, 'cpu_us') if local else float('nan'):9.2f}"
              f" {ratio(rows, nginx, 'rps') if nginx else float('nan'):13.2f}")
        failed = sum(row["failed"] for row in rows)
        if failed:
            print(f"{'':26} {failed} answers were no success")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3, help="of each measurement")
    parser.add_argument("--connections", type=int, nargs="+", default=[64, 512])
    parser.add_argument("--only", help="contenders whose name holds this text")
    parser.add_argument("--json", metavar="FILE", help="write all rows to FILE")
    options = parser.parse_args()
    if not os.path.exists(SAMPLER):
        sys.exit("bench: build/examples/sampler is not there: run script/build")
    everything = {}
    for connections in options.connections:
        all_of = []
        for contender in contenders():
            if options.only and options.only not in contender.name:
                continue
            if contender.is_here():
                all_of.append(contender)
            else:
                print(f"left out: {contender.name} is not installed (script/setup bench)")
        for number in range(options.rounds):
            for contender in all_of:
                with contender.running() as (port, pid):
                    row = measure(contender, port, pid, connections, options.seconds)
                    contender.rows.append(row)
                print(f"round {number + 1}: {contender.name}: {row['rps']:.0f}/s,"
                      f" {row['cpu_us']:.2f} us", file=sys.stderr)
        print_table(all_of, connections)
        everything[connections] = {c.name: c.rows for c in all_of}
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(everything, file, indent=1)


main()
