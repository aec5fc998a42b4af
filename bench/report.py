# SPDX-License-Identifier: MIT
"""What was measured, as tables, as JSON, as plots."""
import html
import json
import statistics

import figures

COLUMNS = [("rps", "req/s", "{:9.0f}"), ("mib_s", "MiB/s", "{:8.0f}"), ("p50_us", "p50 us", "{:8.0f}"),
           ("p99_us", "p99 us", "{:8.0f}"), ("p999_us", "p99.9 us", "{:9.0f}"),
           ("cpu_us", "CPU us", "{:8.2f}"), ("syscalls", "syscalls", "{:8.2f}"),
           ("switches", "switches", "{:8.3f}"), ("bells_to_workers", "bells", "{:7.3f}"),
           ("pss_kib", "PSS KiB", "{:8.0f}"), ("bytes_each", "bytes each", "{:10.0f}"),
           ("alone_p50_us", "alone p50", "{:9.0f}"), ("alone_p99_us", "alone p99", "{:9.0f}"),
           ("alone_p999_us", "alone p99.9", "{:11.0f}"), ("trivial", "trivial", "{:7.0f}"),
           ("of_1_ms", "of 1 ms", "{:7.0f}"), ("of_50_ms", "of 50 ms", "{:8.0f}"),
           ("p99_over_alone", "p99/alone", "{:9.2f}"),
           ("cpu_over_quiet", "CPU/quiet", "{:9.2f}"), ("worker_kib", "KiB/worker", "{:10.0f}"), ("start_ms", "start ms", "{:8.1f}")]


def median(rows, key):
    values = [row[key] for row in rows if row.get(key) is not None]
    return statistics.median(values) if values else None


def ratio(rows, others, key):
    """The median of the ratios within rounds: the machine's speed drifts."""
    pairs = [a[key] / b[key] for a, b in zip(rows, others) if a.get(key) and b.get(key)]
    return statistics.median(pairs) if pairs else None


def disturbed(rows, indent):
    """A line, or none."""
    stolen = [row["stolen"] for row in rows if row.get("stolen", 0) > figures.Stolen.MAX]
    return [f"{indent}{len(stolen)} of {len(rows)} measured without up to {max(stolen):.0%} of the "
            "processors, which others had"] if stolen else []


def starved(rows, indent):
    """A line, or none."""
    worst = min(rows, key=lambda row: row.get("served", 0) - row.get("clients", 0))
    served, clients = worst.get("served", 0), worst.get("clients", 0)
    return [f"{indent}only {served} of {clients} clients were served"] if served < clients else []


def table(load, by_server, reference):
    """Text; medians over the rounds, ratios to the reference within them."""
    shown = [column for column in COLUMNS
             if any(median(rows, column[0]) is not None for rows in by_server.values())]
    base = by_server.get(reference)
    widths = [max(len(title), len(form.format(0))) for _, title, form in shown]
    lines = [f"{load}", f"{'':22}" + " ".join(
        title.rjust(width) for (_, title, _), width in zip(shown, widths)) +
        ("  req/s/ref  CPU/ref" if base else "")]
    for name, rows in by_server.items():
        cells = []
        for (key, _, form), width in zip(shown, widths):
            value = median(rows, key)
            cells.append((form.format(value) if value is not None else "-").rjust(width))
        line = f"{name:22}" + " ".join(cells)
        if base:
            for key, width in (("rps", 11), ("cpu_us", 9)):
                value = ratio(rows, base, key)
                line += (f"{value:.2f}" if value else "-").rjust(width)
        lines.append(line)
        failed = sum(row.get("failed", 0) for row in rows)
        if failed:
            lines.append(f"{'':22}{failed} answers were no success")
        lines += starved(rows, " " * 22) + disturbed(rows, " " * 22)
    return "\n".join(lines)


def bars(title, unit, values):
    """A plot as SVG: one bar for each (name, value)."""
    width, row, left = 720, 24, 170
    most = max((value for _, value in values), default=1) or 1
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" '
             f'height="{44 + row * len(values)}" font-family="sans-serif" font-size="13">',
             f'<rect width="100%" height="100%" fill="#fff"/>',
             f'<text x="8" y="22" font-size="15">{html.escape(title)}</text>']
    for number, (name, value) in enumerate(values):
        y = 36 + row * number
        length = (width - left - 90) * value / most
        colour = "#2a6fb0" if name.startswith("crew") else "#9aa5b1"
        parts.append(f'<text x="{left - 8}" y="{y + 15}" text-anchor="end">'
                     f'{html.escape(name)}</text>'
                     f'<rect x="{left}" y="{y + 3}" width="{length:.1f}" height="{row - 8}" '
                     f'fill="{colour}"/>'
                     f'<text x="{left + length + 6:.1f}" y="{y + 15}">{value:.2f} {unit}</text>')
    return "\n".join(parts) + "\n</svg>\n"


def plots(folder, everything, reference):
    """CPU per request over the reference's, a file for each load that has it."""
    import os
    os.makedirs(folder, exist_ok=True)
    for load, by_server in everything.items():
        base = by_server.get(reference)
        values = [(name, ratio(rows, base, "cpu_us")) for name, rows in by_server.items()
                  if base and ratio(rows, base, "cpu_us")]
        if len(values) < 2:
            continue
        path = os.path.join(folder, load.split(":")[0].replace(" ", "-") + ".svg")
        with open(path, "w", encoding="utf-8") as file:
            file.write(bars(f"{load}: CPU per request over {reference}'s", "", values))


def write_json(path, everything):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(everything, file, indent=1)
