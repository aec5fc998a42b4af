# SPDX-License-Identifier: MIT
"""Several dispatchers on one address: one server to its clients, whoever of them dies."""
import contextlib
import json
import os
import pathlib
import re
import resource
import signal
import subprocess
import threading
import time

import pytest

from client import Closed
from conftest import BUILD, SAMPLER, Server, wait_for
from test_63_topics import publish, subscribe

CLASSES = ["process", "thread"]


def dispatchers(server):
    return server.status()["dispatchers"]


def pool_of(server):
    return server.status()["pools"][0]


def spread(server, count=40):
    """Clients of all dispatchers; each has asked once. Also their dispatcher's number,
    which stands in the number of a request."""
    clients = [server.client() for _ in range(count)]
    numbers = [json.loads(client.get("/whoami").body)["request"] >> 49 for client in clients]
    return clients, numbers


@pytest.mark.parametrize("kind", CLASSES)
def test_clients_are_shared_out_and_counted_together(start, kind):
    server = start("--dispatchers", "3", "--workers", "2", "--worker-class", kind)
    clients, numbers = spread(server)
    assert set(numbers) == {0, 1, 2}, "each has some"
    ids = [json.loads(client.get("/whoami").body)["request"]
           for client in clients for _ in range(5)]
    assert len(set(ids)) == len(ids), "a number is given once only"
    found = dispatchers(server)
    assert [one["index"] for one in found] == [0, 1, 2]
    assert len({one["pid"] for one in found}) == 3
    for one in found:
        assert one["connections"] >= numbers.count(one["index"])
    wait_for(lambda: pool_of(server)["served"] >= 240)
    assert sum(worker["served"] for worker in pool_of(server)["workers"]) >= 240


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:0", "unix:{}"])
def test_any_kind_of_address(tmp_path, listen):
    server = Server(str(tmp_path), ["--listen", listen.format(tmp_path / "socket"),
                                    "--dispatchers", "2", "--workers", "2"])
    clients = [server.client() for _ in range(20)]
    assert {client.get("/hello").status for client in clients} == {200}
    assert os.path.exists(tmp_path / "socket") == listen.startswith("unix:")
    assert server.stop() == 0
    assert not os.path.exists(tmp_path / "socket")


@pytest.mark.parametrize("first, second", [("1", "2"), ("2", "1"), ("2", "2")])
def test_an_address_in_use_is_found(start, tmp_path, first, second):
    server = start("--dispatchers", first)
    done = subprocess.run([SAMPLER, "--listen", f"127.0.0.1:{server.address[1]}",
                           "--dispatchers", second], capture_output=True, text=True,
                          timeout=10, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 1 and "in use" in done.stderr


@pytest.mark.parametrize("kind", CLASSES)
def test_one_dies_and_the_others_clients_notice_nothing(start, kind):
    server = start("--dispatchers", "2", "--workers", "2", "--worker-class", kind)
    clients, numbers = spread(server)
    workers = server.workers()
    before = {one["index"]: one["pid"] for one in dispatchers(server)}
    slow = [client for client, number in zip(clients, numbers) if number == 1][0]
    slow.send(b"GET /sleep/300 HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_for(lambda: pool_of(server)["in_hand"] == 1)
    os.kill(before[0], signal.SIGKILL)
    for client, number in zip(clients, numbers):
        if number == 1 and client is not slow:
            assert client.get("/hello").status == 200
    assert slow.answer().status == 200, "its worker went on"
    for client, number in zip(clients, numbers):
        if number == 0:
            with pytest.raises((Closed, ConnectionError)):
                client.get("/hello")
    wait_for(lambda: {one["index"]: one["generation"] for one in dispatchers(server)} ==
             {0: 2, 1: 1})
    assert server.workers() == workers, "workers outlive dispatchers"
    clients, numbers = spread(server)
    assert set(numbers) == {0, 1}


def test_a_worker_dies_of_one_request_and_all_dispatchers_go_on(start):
    server = start("--dispatchers", "2", "--workers", "2")
    clients, numbers = spread(server)
    for how in ("segv", "garbage"):
        for client in (clients[numbers.index(0)], clients[numbers.index(1)]):
            assert client.get(f"/crash/{how}").status == 502
            wait_for(lambda: [worker["state"] for worker in pool_of(server)["workers"]] ==
                     ["ready"] * 2)
            assert {other.get("/hello").status for other in clients} == {200}
    wait_for(lambda: pool_of(server)["restarts"] == 4)


@pytest.mark.parametrize("kind", CLASSES)
def test_events_reach_the_subscribers_of_all(start, kind):
    server = start("--dispatchers", "3", "--workers", "2", "--worker-class", kind)
    listeners = [subscribe(server, "news") for _ in range(40)]
    publishers, numbers = spread(server, 20)
    assert set(numbers) == {0, 1, 2}
    for count, publisher in enumerate(publishers):
        assert publish(publisher, "news", f"number {count}") == 40
    for listener in listeners:
        assert [listener.event() for _ in publishers] == \
            [f"data: number {count}" for count in range(len(publishers))]
    os.kill(server.dispatcher(), signal.SIGKILL)
    wait_for(lambda: dispatchers(server)[0]["generation"] == 2)
    count = publish(spread(server, 1)[0][0], "news", "to those that are left")
    left = 0
    for listener in listeners:
        with contextlib.suppress(Closed, ConnectionError, AssertionError):
            left += listener.event() == "data: to those that are left"
    assert 0 < left == count < 40


def test_slow_requests_of_one_do_not_hold_up_another(start):
    """Each hears only of its own requests: a worker that another keeps busy is not
    chosen, or what is stuck there is taken back."""
    server = start("--dispatchers", "2", "--workers", "2")
    clients, numbers = spread(server)
    slow = clients[numbers.index(0)]
    slow.send(b"GET /sleep/1500 HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_for(lambda: pool_of(server)["in_hand"] == 1)
    answered = 0
    slow.socket.setblocking(False)
    for _ in range(5):
        for client, number in zip(clients, numbers):
            if client is not slow:
                assert client.get("/hello").status == 200
                answered += 1
    with pytest.raises(BlockingIOError):
        slow.socket.recv(1)
    assert answered == 195
    slow.socket.setblocking(True)
    assert slow.answer().status == 200


def test_who_waits_for_a_worker_that_another_keeps_busy_gets_it(start):
    server = start("--dispatchers", "2", "--workers", "1", SAMPLER_QUEUE_MAX="8")
    clients, numbers = spread(server)
    first = clients[numbers.index(0)]
    first.send(b"GET /sleep/700 HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_for(lambda: pool_of(server)["in_hand"] == 1)
    asking = [client for client in clients if client is not first][:30]
    for client in asking:
        client.send(b"GET /sleep/1 HTTP/1.1\r\nHost: x\r\n\r\n")
    statuses = [client.answer().status for client in asking]
    assert first.answer().status == 200
    assert set(statuses) == {200, 503}
    assert statuses.count(200) <= 8 + 2, "half of the queue for each, one at each link"


def test_pausing_and_configuration_are_told_to_all(start):
    server = start("--dispatchers", "2", "--workers", "2")
    clients, numbers = spread(server)
    assert clients[0].request("POST", "/config", b'{"n":1}').status == 202
    wait_for(lambda: {client.get("/config").body for client in clients} == {b'{"n":1}'})
    paused = json.loads(clients[0].request("POST", "/pause/600").body)["worker"]
    for client in clients:
        assert json.loads(client.get("/whoami").body)["worker"] == 1 - paused
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: [worker["generation"] for worker in pool_of(server)["workers"]] == [2, 2])
    assert {client.get("/hello").status for client in clients} == {200}


def test_it_stops_in_order(start):
    server = start("--dispatchers", "3", "--workers", "3")
    clients, _ = spread(server)
    for client in clients[:3]:
        client.send(b"GET /sleep/300 HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_for(lambda: pool_of(server)["in_hand"] == 3)
    server.process.send_signal(signal.SIGTERM)
    assert [client.answer().status for client in clients[:3]] == [200] * 3
    assert server.stop() == 0


def test_everything_dies_all_the_time(start):
    """Dispatchers and workers are killed under load: an answer is right, or 502, or its
    connection ends; none is another's."""
    server = start("--dispatchers", "2", "--workers", "3")
    over = threading.Event()
    wrong, right = [], [0] * 6

    def ask(number):
        while not over.is_set():
            try:
                with server.client() as client:
                    for count in range(50):
                        body = f"{number} {count} {time.monotonic_ns()}".encode()
                        answer = client.request("POST", "/echo", body)
                        if answer.status == 200 and answer.body == body:
                            right[number] += 1
                        elif answer.status not in (502, 503):
                            wrong.append((answer.status, body, answer.body))
            except (Closed, OSError, AssertionError):
                pass  # its dispatcher died

    clients = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for client in clients:
        client.start()
    try:
        for round_ in range(30):
            status = None
            while status is None:
                try:
                    status = server.status()
                except (Closed, OSError, AssertionError):
                    pass
            victims = (status["dispatchers"] if round_ % 5 == 0
                       else status["pools"][0]["workers"])
            pid = victims[round_ % len(victims)]["pid"]
            if pid:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.1)
    finally:
        over.set()
        for client in clients:
            client.join()
    assert not wrong
    assert min(right) > 100
    wait_for(lambda: [worker["state"] for worker in pool_of(server)["workers"]] == ["ready"] * 3)
    assert len(dispatchers(server)) == 2


def test_slow_requests_of_all_have_their_turn(start):
    """Who gave the worker its last request hears first that it is free."""
    server = start("--dispatchers", "2", "--workers", "1")
    clients, numbers = spread(server)
    answered = [0, 0]
    over = threading.Event()

    def ask(client, number):
        while not over.is_set():
            assert client.get("/sleep/20").status == 200
            answered[number] += 1

    threads = [threading.Thread(target=ask, args=(client, number))
               for number in (0, 1)
               for client in [one for one, its in zip(clients, numbers) if its == number][:3]]
    for thread in threads:
        thread.start()
    time.sleep(3)
    over.set()
    for thread in threads:
        thread.join()
    assert min(answered) > sum(answered) / 4, answered


def wakes(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", text, re.M).group(1))


def test_a_slow_request_does_not_keep_its_dispatcher_awake(start):
    server = start("--dispatchers", "2", "--workers", "1")

    clients, numbers = spread(server, 20)
    client = clients[numbers.index(0)]
    client.send(b"GET /sleep/1500 HTTP/1.1\r\nHost: x\r\n\r\n")
    time.sleep(0.2)
    before = wakes(server.dispatcher())
    time.sleep(1)
    assert wakes(server.dispatcher()) - before < 100
    assert client.answer().status == 200


def test_answers_wake_nobody_but_whose_client_asked(start):
    server = start("--workers", "2", "--dispatchers", "2")
    clients, numbers = spread(server, 1)
    others = dispatchers(server)[1 - numbers[0]]["pid"]
    clients[0].get("/hello")
    before = wakes(others)
    for _ in range(200):
        assert clients[0].get("/hello").status == 200
    assert wakes(others) - before < 50


@pytest.fixture
def hooked(tmp_path):
    server = Server(str(tmp_path), ["--dispatchers", "2"],
                    program=os.path.join(BUILD, "tests", "hooked"))
    yield server
    server.stop()


def of_each(server):
    """A client of each of two dispatchers."""
    found = {}
    while len(found) < 2:
        client = server.client()
        found[json.loads(client.get("/local/publish/0").body)["dispatcher"]] = client
    return found[0], found[1]


def heard(server):
    return [one["published"] for one in dispatchers(server)]


def test_a_dispatcher_that_is_busy_hears_all_events_later(hooked):
    first, second = of_each(hooked)
    pids = [one["pid"] for one in dispatchers(hooked)]
    second.send(b"GET /local/nap HTTP/1.1\r\nHost: x\r\n\r\n")
    for _ in range(10):
        assert json.loads(first.get("/local/publish/1000").body)["taken"] == 1000
    assert second.answer().body == b"awake"
    wait_for(lambda: heard(hooked) == [10000] * 2)
    assert [one["pid"] for one in dispatchers(hooked)] == pids
    assert "takes no events" not in hooked.log()


def test_a_dispatcher_that_is_late_misses_no_event_of_many_turns(hooked):
    first, second = of_each(hooked)
    second.send(b"GET /local/nap HTTP/1.1\r\nHost: x\r\n\r\n")
    taken = 0
    end = time.monotonic() + 0.25
    while time.monotonic() < end:
        taken += json.loads(first.get("/local/publish/1").body)["taken"]
    assert second.answer().body == b"awake"
    wait_for(lambda: heard(hooked)[0] == taken)
    wait_for(lambda: heard(hooked) == [taken] * 2)
    assert "takes no events" not in hooked.log()


def test_a_dispatcher_that_is_stopped_misses_no_event_of_half_a_second(hooked):
    """Of which there are more files than its channel holds: some are sent after each pause."""
    first, _ = of_each(hooked)
    other = dispatchers(hooked)[1]["pid"]
    taken = 0
    os.kill(other, signal.SIGSTOP)
    try:
        for _ in range(350):
            taken += json.loads(first.get("/local/publish/1").body)["taken"]
            time.sleep(0.003)
    finally:
        os.kill(other, signal.SIGCONT)
    wait_for(lambda: heard(hooked) == [taken] * 2)
    assert "takes no events" not in hooked.log()
    assert dispatchers(hooked)[1]["pid"] == other


def test_a_handler_in_a_dispatcher_knows_which_it_is(hooked):
    told = [json.loads(client.get("/local/publish/0").body) for client in of_each(hooked)]
    assert {one["index"] for one in told} == {0, 1}
    assert all(one["index"] == one["dispatcher"] for one in told)


def test_who_publishes_more_than_is_taken_is_told(hooked):
    first, _ = of_each(hooked)
    taken = json.loads(first.get("/local/publish/10000000").body)["taken"]
    assert 10000 < taken < 10000000
    wait_for(lambda: heard(hooked) == [taken] * 2, seconds=20)


def test_events_that_the_parent_does_not_take_are_not_written_again_and_again(hooked):
    first, _ = of_each(hooked)
    pids = [one["pid"] for one in dispatchers(hooked)]

    def processor_time():
        text = pathlib.Path(f"/proc/{pids[0]}/stat").read_text(encoding="ascii")
        return sum(map(int, text.rsplit(")", 1)[1].split()[11:13])) / os.sysconf("SC_CLK_TCK")

    os.kill(hooked.pid, signal.SIGSTOP)
    try:
        taken = [1000]
        while taken[-1] == 1000:
            taken.append(json.loads(first.get("/local/publish/1000").body)["taken"])
        before = processor_time()
        time.sleep(1)
        assert processor_time() - before < 0.3
    finally:
        os.kill(hooked.pid, signal.SIGCONT)
    wait_for(lambda: json.loads(first.get("/local/publish/1").body)["taken"] == 1)
    assert [one["pid"] for one in dispatchers(hooked)] == pids


def test_a_dispatcher_without_descriptors_goes_on(hooked):
    first, second = of_each(hooked)
    pids = [one["pid"] for one in dispatchers(hooked)]
    worker = pool_of(hooked)["workers"][0]["pid"]
    limit = resource.prlimit(pids[1], resource.RLIMIT_NOFILE)
    resource.prlimit(pids[1], resource.RLIMIT_NOFILE, (3, limit[1]))
    assert first.get("/local/publish/1").status == 200
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: "no descriptor is left" in hooked.log())
    assert second.get("/local/publish/1").status == 200
    resource.prlimit(pids[1], resource.RLIMIT_NOFILE, limit)
    wait_for(lambda: second.get("/early").status == 200, seconds=15)
    assert [one["pid"] for one in dispatchers(hooked)] == pids


@pytest.mark.parametrize("kind", CLASSES)
def test_policy_and_spinning(start, kind):
    server = start("--policy", "batch", "--spin", "100", "--workers", "2",
                   "--worker-class", kind)
    for pid in set(server.workers()):
        assert any(os.sched_getscheduler(int(task)) == os.SCHED_BATCH
                   for task in os.listdir(f"/proc/{pid}/task"))
    assert os.sched_getscheduler(server.dispatcher()) == os.SCHED_OTHER
    with server.client() as client:
        for _ in range(500):
            assert client.get("/hello").status == 200
        assert client.get("/sleep/50").status == 200, "patience ends before the answer"


def test_who_waits_for_a_worker_of_another_dispatchers_waits_no_longer(start):
    server = start("--dispatchers", "2", "--workers", "1", SAMPLER_QUEUE_TIMEOUT_MS="500")
    clients = [server.client() for _ in range(20)]
    of = [json.loads(client.get("/whoami").body)["request"] >> 49 for client in clients]
    assert len(set(of)) == 2
    busy, waits = clients[of.index(min(of))], clients[of.index(max(of))]
    busy.send(b"GET /cancelled/2500 HTTP/1.1\r\nHost: x\r\n\r\n")  # looks at its link meanwhile
    time.sleep(0.1)
    began = time.monotonic()
    assert waits.get("/plain").status == 503
    assert time.monotonic() - began < 2
    assert busy.answer().status == 200


def put_all(server, body, clients, times):
    """PUT it so many times by each of so many clients at once; all answers' states."""
    found = []

    def put():
        with server.client(timeout=60) as client:
            for _ in range(times):
                answer = client.request("PUT", "/echo", body)
                found.append(answer.status if answer.body == body else (answer.status, "other"))

    threads = [threading.Thread(target=put) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == clients * times
    return set(found)


def test_large_bodies_are_not_taken_back_while_they_are_handed_over(start):
    server = start("--dispatchers", "2", "--workers", "2", SAMPLER_QUEUE_TIMEOUT_MS="8000")
    assert put_all(server, os.urandom(8 << 20), clients=4, times=4) == {200}
