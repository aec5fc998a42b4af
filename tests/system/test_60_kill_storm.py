# SPDX-License-Identifier: MIT
"""Workers are killed ten times a second under load: each kill costs at most the
one request that its worker had taken, and nothing else happens to anybody."""
import asyncio
import collections
import os
import random
import signal
import time

REQUESTS = 50_000
CONNECTIONS = 64
KILL_EVERY_S = 0.1


class Storm:
    def __init__(self, server):
        self.server = server
        self.left = iter(range(REQUESTS))
        self.kills = []
        self.failed = []       # (id, sent at, answered at)
        self.statuses = collections.Counter()
        self.done = False

    async def client(self, number):
        reader, writer = await asyncio.open_connection(*self.server.address)
        pick = random.Random(number)
        for index in self.left:
            body = f"{index:06d}-".encode() * pick.choice((1, 10, 100, 1000))
            path = pick.choice((b"/echo", b"/echo/1"))
            writer.write(b"POST %s HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: r%06d\r\n"
                         b"Content-Length: %d\r\n\r\n" % (path, index, len(body)) + body)
            sent = time.monotonic()
            status, keep, answer = await asyncio.wait_for(self.answer(reader), 10)
            self.statuses[status] += 1
            assert keep, "the connection is kept, whatever happens to a worker"
            if status == 200:
                assert answer == body, f"request {index} got another's answer"
            else:
                assert status == 502, (status, answer)
                self.failed.append((index, sent, time.monotonic()))
        writer.close()

    @staticmethod
    async def answer(reader):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        size = int(head.split("content-length: ")[1].split("\r\n")[0])
        return int(head[9:12]), "connection: close" not in head, await reader.readexactly(size)

    async def killer(self):
        pick = random.Random(1)
        while not self.done:
            await asyncio.sleep(KILL_EVERY_S)
            workers = await asyncio.to_thread(self.server.workers)
            pid = pick.choice(workers)
            try:
                os.kill(pid, signal.SIGKILL)
                self.kills.append(time.monotonic())
            except ProcessLookupError:
                pass

    async def run(self):
        killer = asyncio.create_task(self.killer())
        await asyncio.gather(*(self.client(n) for n in range(CONNECTIONS)))
        self.done = True
        await killer


def test_each_kill_costs_at_most_one_request(start, tmp_path):
    ran_path = tmp_path / "ran"
    server = start("--workers", "4", SAMPLER_RAN=str(ran_path))
    storm = Storm(server)
    asyncio.run(storm.run())

    assert sum(storm.statuses.values()) == REQUESTS
    assert len(storm.kills) > 20, "the storm must be one"
    assert len(storm.failed) <= len(storm.kills), (len(storm.failed), len(storm.kills))
    print(f"{len(storm.kills)} kills, {len(storm.failed)} requests failed")

    # A request fails by a kill between its sending and its answer; counted from the
    # first of them that is the longest that its client can have waited for the word.
    waits = sorted(max(at - kill for kill in storm.kills if sent <= kill <= at)
                   for _, sent, at in storm.failed)
    print(f"told within {waits[len(waits) // 2] * 1000:.1f} ms (median), {waits[-1] * 1000:.1f} (most)")
    assert waits[int(len(waits) * 0.99)] < 0.1, waits[-5:]

    ran = collections.Counter(ran_path.read_text().split())
    assert max(ran.values()) == 1, [r for r, n in ran.items() if n > 1][:5]
    answered = REQUESTS - len(storm.failed)
    assert len(ran) >= answered, "what was answered has run"
    with server.client() as client:
        assert client.get("/hello").status == 200
