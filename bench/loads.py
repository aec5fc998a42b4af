# SPDX-License-Identifier: MIT
"""The loads: what is asked of a server, and what is read of its answers."""
import collections
import contextlib
import json
import os
import random
import re
import select
import signal
import socket
import statistics
import subprocess
import time

import clients
import servers
from figures import Account, Stolen, Syscalls, pss_kib

LATE_S = 30      # after the time that wrk was given: it hangs
PAIRS = 5        # of runs of the mixed load
wrk_threads = 1  # at most; with more it is less often the bottleneck, and takes from the servers

# It counts what it sends, since wrk does not count what is never answered.
SCRIPT = """
local depth, body, method, close = {depth}, {body}, "{method}", {close}
local path, threads = "{path}", {{}}
sent = 0
setup = function(thread) table.insert(threads, thread) end
init = function(args)
  local headers = {{ ["Host"] = "bench" }}
  if close then headers["Connection"] = "close" end
  local one = {{}}
  local text = body > 0 and string.rep("x", body) or nil
  for i = 1, depth do one[i] = wrk.format(method, path, headers, text) end
  all = table.concat(one)
end
request = function() sent = sent + 1 return all end
done = function(summary, latency, requests)
  local sent, errors = -1, summary.errors -- wrk itself calls request() once
  for _, thread in ipairs(threads) do sent = sent + thread:get("sent") end
  io.write(string.format("figures %d %d %d %f %f %f %d %d %d\\n", summary.requests,
    summary.duration, summary.bytes, latency:percentile(50), latency:percentile(99),
    latency:percentile(99.9), sent * depth, errors.status + errors.timeout + errors.connect,
    errors.read + errors.write))
end
"""


def wrk_row(out, connections, depth=1):
    """What wrk said at its end. One request of each client may be under way then: what else was
    not answered has failed. Of pipelined requests wrk has no percentiles: it has one time for a
    whole batch, takes that for a late answer, and "corrects" it."""
    found = re.search(r"^figures" + r" (\S+)" * 9 + "$", out, re.M)
    requests, us, size, *percentiles, sent, bad, broken = map(float, found.groups())
    if depth > 1 or not requests:
        percentiles = [None] * 3
    unanswered = sent - requests - connections * depth
    return {"requests": int(requests), "rps": requests * 1e6 / us,
            "mib_s": size * 1e6 / us / (1 << 20),
            **dict(zip(("p50_us", "p99_us", "p999_us"), percentiles)),
            "failed": int(bad + max(broken, unanswered, 0))}


def threads_for(connections):
    """Of wrk, which would leave out connections that it cannot share out evenly."""
    return max(count for count in range(1, wrk_threads + 1) if connections % count == 0)


def wrk(folder, port, path, connections, seconds, **options):
    """One run of wrk; a dictionary of its figures, times in microseconds."""
    fill = {"depth": 1, "body": 0, "method": "GET", "close": "false", "path": path, **options}
    script = os.path.join(folder, f"load-{os.getpid()}-{connections}.lua")
    with open(script, "w", encoding="utf-8") as file:
        file.write(SCRIPT.format(**fill))
    try:
        done = subprocess.run(["wrk", f"-t{threads_for(connections)}", f"-c{connections}",
                               f"-d{seconds}s", "-s", script, f"http://127.0.0.1:{port}{path}"],
                              capture_output=True, text=True, timeout=seconds + LATE_S)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"wrk: has not ended after {seconds + LATE_S} s") from None
    if done.returncode or "figures " not in done.stdout:
        raise RuntimeError(f"wrk: {done.stderr.strip() or 'no figures'}")
    row = wrk_row(done.stdout, connections, fill["depth"])
    if not row["requests"]:
        raise RuntimeError("wrk: no answers")
    return row


def status_of(port):
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        sock.sendall(b"GET /status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        data = b""
        while part := sock.recv(65536):
            data += part
    return json.loads(data.split(b"\r\n\r\n", 1)[1])


def bells(port):
    """Rung by the dispatcher for workers, and by workers for it."""
    status = status_of(port)
    return (status["dispatchers"][0].get("bells", 0),
            sum(worker["bells"] for pool in status["pools"] for worker in pool["workers"]))


def closed_loop(server, port, pids, folder, connections, seconds, **options):
    """So many clients, each of which asks again as soon as it was answered."""
    served = len(clients.ClosedLoop(port, server.path, connections,
                                    options.get("close") == "true").run().answered)
    wrk(folder, port, server.path, connections, 1, **options)
    own = pids()
    rung = bells(port) if server.kind == "crew" else None
    account = Account(own)
    row = wrk(folder, port, server.path, connections, seconds, **options)
    row.update(account.end(row["requests"]))
    row.update(clients=connections, served=served)
    if rung:
        after = bells(port)
        row["bells_to_workers"] = (after[0] - rung[0]) / max(row["requests"], 1)
        row["bells_to_dispatcher"] = (after[1] - rung[1]) / max(row["requests"], 1)
    syscalls = Syscalls(own)
    if syscalls.process:
        time.sleep(0.3)  # until perf has attached
        counted = wrk(folder, port, server.path, connections, 1, **options)
        total = syscalls.stop()
        row["syscalls"] = total / max(counted["requests"], 1) if total else None
    return row


def answers_of(wrk_pid):
    """So many reads a wrk has made: one for each answer, or for all that are there at once."""
    with open(f"/proc/{wrk_pid}/io", encoding="ascii") as file:
        return int(re.search(r"^syscr: (\d+)", file.read(), re.M).group(1))


def steady(server, port, pids, connections, seconds):
    """The same, of one run from when all clients are connected and were answered: what it
    takes to connect them is in no figure."""
    with subprocess.Popen(["wrk", f"-t{threads_for(connections)}", f"-c{connections}",
                           "-d24h", "--timeout", "30s", f"http://127.0.0.1:{port}{server.path}"],
                          stdout=subprocess.PIPE, text=True) as load:
        try:
            until = time.monotonic() + 60
            while answers_of(load.pid) < 4 * connections:
                if load.poll() is not None or time.monotonic() > until:
                    raise RuntimeError("wrk is not answered")
                time.sleep(0.1)
            time.sleep(0.5)
            account, before, began = Account(pids()), answers_of(load.pid), time.monotonic()
            time.sleep(seconds)
            count, took = answers_of(load.pid) - before, time.monotonic() - began
            row = {"rps": count / took, **account.end(count)}
            syscalls = Syscalls(pids())
            if syscalls.process:
                time.sleep(0.3)  # until perf has attached
                before = answers_of(load.pid)
                time.sleep(1)
                count, total = answers_of(load.pid) - before, syscalls.stop()
                row["syscalls"] = total / max(count, 1) if total else None
            load.send_signal(signal.SIGINT)
            said = load.communicate(timeout=10)[0]
        finally:
            load.kill()
    counts = {word: int(number) for word, number in
              re.findall(r"(connect|read|write|timeout|responses:) (\d+)", said)}
    return {**row, "not_connected": counts.pop("connect", 0), "failed": sum(counts.values())}


def percentiles(took, asked):
    """Of the seconds of all that were asked, in microseconds. Who was not answered took for ever:
    a percentile that falls among these is None."""
    took = sorted(took)
    ranks = {name: int(asked * part)
             for name, part in (("p50_us", 0.5), ("p99_us", 0.99), ("p999_us", 0.999))}
    return {name: took[rank] * 1e6 if rank < len(took) else None for name, rank in ranks.items()}


def apart(server, port, pids, _folder, seconds):
    """Single requests a millisecond apart: each finds everybody asleep."""
    ask = f"GET {server.path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()
    took, failed = [], 0
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        account = Account(pids())
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(0.001)
            asked = time.perf_counter()
            sock.sendall(ask)
            failed += b" 200 " not in sock.recv(4096)
            took.append(time.perf_counter() - asked)
    return {"rps": len(took) / seconds, "failed": failed, **account.end(len(took)),
            **percentiles(took, len(took))}


def beside_another(server, port, pids, folder, seconds):
    """The same load twice: by itself, and while another process is busy on one processor. The
    figures are the second one's; what went wrong is that of both."""
    quiet = closed_loop(server, port, pids, folder, 512, seconds)
    with subprocess.Popen(["/usr/bin/python3", "-c", "while True: pass"]) as busy:
        try:
            os.sched_setaffinity(busy.pid, {max(os.sched_getaffinity(0))})
            row = closed_loop(server, port, pids, folder, 512, seconds)
        finally:
            busy.kill()
    return {**row, "cpu_over_quiet": row["cpu_us"] / quiet["cpu_us"],
            "failed": row["failed"] + quiet["failed"],
            "served": min(row["served"], quiet["served"]),
            "stolen": max(row["stolen"], quiet["stolen"])}


def mixed(_server, port, pids, _folder, seconds):
    """Pairs of runs, each of a stream of its own, of which most requests are trivial, some take
    1 ms and a few 50 ms that block: all of it, and its trivial ones alone, for what the others
    cost them. Which comes first is random; latencies are of the trivial ones of all pairs."""
    stolen, cpu_us, asked, failed = Stolen(), [], 0, 0
    beside, alone = collections.defaultdict(list), []
    clients.OpenLoop(port).run(clients.arrivals(seconds / 4))
    for seed in random.sample(range(1 << 32), PAIRS):
        stream = clients.arrivals(seconds, seed=seed)
        trivial = [one for one in stream if one[1] == clients.TRIVIAL]
        asked += len(trivial)
        for requests in random.sample([stream, trivial], 2):
            account = Account(pids())
            loop = clients.OpenLoop(port).run(requests)
            failed += loop.failed
            if requests is trivial:
                alone += loop.took[clients.TRIVIAL]
                continue
            cpu_us.append(account.end(sum(map(len, loop.took.values())))["cpu_us"])
            for path in clients.MIX:
                beside[path] += loop.took[path]
    done = [len(beside[path]) for path in clients.MIX]
    row = {"rps": sum(done) / seconds / PAIRS, "cpu_us": statistics.median(cpu_us),
           **percentiles(beside[clients.TRIVIAL], asked), "stolen": stolen.part(),
           **dict(zip(("trivial", "of_1_ms", "of_50_ms"), done)),
           **{f"alone_{name}": value for name, value in percentiles(alone, asked).items()},
           "failed": failed}
    if row["p99_us"] and row["alone_p99_us"]:
        row["p99_over_alone"] = row["p99_us"] / row["alone_p99_us"]
    return row


def idle_connections(_server, port, pids, _folder, count):
    """What connections cost that ask for nothing."""
    own = pids()
    before = pss_kib(own)
    opened = []
    try:
        for _ in range(count):
            client = socket.create_connection(("127.0.0.1", port), servers.PATIENCE_S)
            client.sendall(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
            opened.append(client)
        for client in opened:
            client.recv(4096)
        time.sleep(0.5)
        after = pss_kib(own)
    finally:
        for client in opened:
            client.close()
    return {"connections": count, "bytes_each": (after - before) * 1024 / count, "failed": 0}


def fan_out(server, port, pids, _folder, subscribers, events):
    """Events to many subscribers, read by one thread of ours."""
    poll = select.epoll()
    listeners = {}
    for _ in range(subscribers):
        client = socket.create_connection(("127.0.0.1", port), servers.PATIENCE_S)
        client.sendall(b"GET /events?channel=b HTTP/1.1\r\nHost: x\r\n\r\n")
        listeners[client.fileno()] = client
        poll.register(client.fileno(), select.EPOLLIN)
    publisher = socket.create_connection(("127.0.0.1", port), servers.PATIENCE_S)
    waiting, end = set(listeners), time.monotonic() + servers.PATIENCE_S
    while waiting:
        if time.monotonic() > end:
            raise RuntimeError(f"{server.name} does not answer {len(waiting)} of {subscribers} "
                               f"subscribers within {servers.PATIENCE_S} s")
        for number, _ in poll.poll(1):
            if listeners[number].recv(65536):
                waiting.discard(number)
    time.sleep(0.3)
    own = pids()
    account = Account(own)
    began = time.monotonic()
    body = b'{"channel":"b","msg":"an event of some length, as they are"}'
    ask = b"POST /publish HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    got = 0
    for _ in range(events):
        publisher.sendall(ask)
        publisher.recv(4096)
        for number, _ in poll.poll(0):
            got += listeners[number].recv(65536).count(b"data:")
    while got < subscribers * events and time.monotonic() - began < 60:
        for number, _ in poll.poll(1):
            got += listeners[number].recv(65536).count(b"data:")
    took = time.monotonic() - began
    row = account.end(got)
    with contextlib.suppress(OSError):
        for client in listeners.values():
            client.close()
    publisher.close()
    return {"rps": got / took, "failed": subscribers * events - got, **row}


def start(server, _folder, rounds=5):
    """From exec to the first answer."""
    times, sizes = [], []
    for _ in range(rounds):
        with server.running() as (port, _, _):
            times.append(server.start_s)
            if server.kind == "crew":
                time.sleep(0.2)
                sizes += [pss_kib([worker["pid"]]) for pool in status_of(port)["pools"]
                          for worker in pool["workers"]]
    return {"start_ms": statistics.median(times) * 1000, "failed": 0,
            "worker_kib": statistics.median(sizes) if sizes else None}
