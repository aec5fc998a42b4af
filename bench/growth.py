# SPDX-License-Identifier: MIT
"""How a request's cost grows with connections, workers, routes and requests that wait:
each axis from small to large in every round, as ratios to its smallest."""
import os
import statistics

import figures
import loads
import report
import servers

MANY = os.path.join(servers.BUILD, "bench", "micro", "many")


def many_routes(count):
    return servers.Server(f"{count} routes",
                          [["env", f"ROUTES={count}", MANY, "--listen", "127.0.0.1:{port}",
                            "--workers", "1", "--log-level", "warning"]],
                          path=f"/r{count - 1}/item/7", kind="crew")


# name: (values, server(value), connections(value))
AXES = {
    "connections": ((10, 100, 1000, 10000), lambda n: servers.crew("", 2, "/hello"), lambda n: n),
    "workers": ((1, 2, 4, 8, 16, 32, 64), lambda n: servers.crew("", n, "/hello"), lambda n: 64),
    "routes": ((1, 10, 100, 1000, 10000), many_routes, lambda n: 64),
    "requests that wait for a worker, which takes 1 ms for each":
        ((1, 10, 100, 1000), lambda n: servers.crew("", 1, "/sleep/1"), lambda n: n + 1),
}


def once(server, connections, seconds):
    with server.running() as (port, pids, _):
        return loads.steady(server, port, pids, connections, seconds)


def run(rounds, seconds, progress):
    """{axis: {value: [row of each round]}}"""
    found = {axis: {value: [] for value in AXES[axis][0]} for axis in AXES}
    for number in range(rounds):
        for axis, (values, server_of, connections_of) in AXES.items():
            for value in values:
                found[axis][value].append(figures.undisturbed(
                    lambda: once(server_of(value), connections_of(value), seconds)))
                progress(f"  round {number + 1}, {value} {axis}")
    return found


def median(rows, key):
    return statistics.median(row[key] for row in rows)


def table(found):
    """Text; ratios to the smallest value of an axis, within rounds."""
    lines = ["growth: CPU per request, of all processes"]
    for axis, by_value in found.items():
        lines += ["", f"{axis:>8}", f"{'':>10}    req/s   CPU us  over the first  "
                  "switches  syscalls"]
        first = next(iter(by_value.values()))
        for value, rows in by_value.items():
            ratio = statistics.median(a["cpu_us"] / b["cpu_us"] for a, b in zip(rows, first))
            syscalls = rows[0].get("syscalls")
            lines.append(f"{value:>10}{median(rows, 'rps'):>9.0f}{median(rows, 'cpu_us'):>9.2f}"
                         f"{ratio:>16.2f}{median(rows, 'switches'):>10.3f}"
                         + (f"{syscalls:>10.2f}" if syscalls else f"{'-':>10}"))
        lines += report.disturbed([row for rows in by_value.values() for row in rows], " " * 10)
    return "\n".join(lines)
