# SPDX-License-Identifier: MIT
"""How a request's cost grows with connections, workers, routes and requests that wait:
each axis from small to large in every round, as ratios to its smallest."""
import os
import loads
import process
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


def run(rounds, seconds, may_open, found):
    rows = {}
    for axis, (values, _, connections_of) in AXES.items():
        few = [value for value in values if connections_of(value) + process.SPARE <= may_open]
        for value in values[len(few):]:
            found.leave_out(f"{value} {axis}", f"takes {connections_of(value) + process.SPARE} "
                            f"descriptors of {may_open} (ulimit -Hn)")
        if few:
            rows[axis] = found.begin(axis, [str(value) for value in few])
    try:
        for number in range(1, rounds + 1):
            for axis in rows:
                _, server_of, connections_of = AXES[axis]
                for value in map(int, rows[axis]):
                    found.measure(axis, str(value), number, lambda: once(
                        server_of(value), connections_of(value), seconds))
    finally:
        print(table(rows))


def table(rows):
    """Text; ratios to the smallest value of an axis, within rounds."""
    lines = ["growth: CPU per request, of all processes"]
    for axis, by_value in rows.items():
        lines += ["", f"{axis:>8}",
                  f"{'':>10}    req/s   CPU us    over the first  switches  syscalls"]
        first = next(iter(by_value.values()))
        for value, of_value in by_value.items():
            cells = [(report.median(of_value, "rps"), "{:9.0f}"),
                     (report.median(of_value, "cpu_us"), "{:9.2f}"),
                     (report.with_spread(report.ratios(of_value, first, "cpu_us")), "{:>18}"),
                     (report.median(of_value, "switches"), "{:10.3f}"),
                     (report.median(of_value, "syscalls"), "{:10.2f}")]
            lines.append(f"{value:>10}" + "".join(
                form.format(cell) if cell is not None else "-".rjust(len(form.format(0)))
                for cell, form in cells))
            lines += report.notes(of_value, " " * 10)
        lines += report.disturbed([row for some in by_value.values() for row in some], " " * 10)
    return "\n".join(lines)
