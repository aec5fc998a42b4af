# SPDX-License-Identifier: MIT
"""What was measured, as tables, as plots."""
import html
import os
import statistics

import figures

COLUMNS = [("rps", "req/s", "{:9.0f}"), ("mib_s", "MiB/s", "{:8.0f}"), ("p50_us", "p50 us", "{:8.0f}"),
           ("p99_us", "p99 us", "{:8.0f}"), ("p999_us", "p99.9 us", "{:9.0f}"),
           ("cpu_us", "CPU us", "{:8.2f}"), ("syscalls", "syscalls", "{:8.2f}"),
           ("switches", "switches", "{:8.3f}"), ("bells_to_workers", "bells", "{:7.3f}"),
           ("pss_kib", "PSS KiB", "{:8.0f}"), ("bytes_each", "bytes each", "{:10.0f}"),
           ("p99_over_alone", "p99/alone", "{:>18}"),
           ("cpu_over_quiet", "CPU/quiet", "{:9.2f}"), ("worker_kib", "KiB/worker", "{:10.0f}"), ("start_ms", "start ms", "{:8.1f}")]
COMPARED = [("rps", "req/s"), ("p50_us", "p50"), ("p99_us", "p99"), ("p999_us", "p99.9"),
            ("cpu_us", "CPU"), ("pss_kib", "PSS"), ("bytes_each", "bytes each"),
            ("start_ms", "start")]
SPREAD = ("p99_over_alone",)  # over the rounds, beside the median
NAME = 22  # columns, of a server


def values_of(rows, key):
    return [row[key] for row in rows if row.get(key) is not None]


def median(rows, key):
    values = values_of(rows, key)
    return statistics.median(values) if values else None


def ratios(rows, others, key):
    """Within rounds: the machine's speed drifts."""
    by_round = {row["round"]: row for row in others}
    pairs = [(row, by_round.get(row["round"], {})) for row in rows]
    return [a[key] / b[key] for a, b in pairs if a.get(key) and b.get(key)]


def ratios_of(row, others):
    """All figures of one row."""
    return {key: found[0] for key, _, _ in COLUMNS if (found := ratios([row], others, key))}


def ratio(rows, others, key):
    values = ratios(rows, others, key)
    return statistics.median(values) if values else None


def short(value):
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}"


def with_spread(values):
    """The median, and between what they lie."""
    if not values:
        return "-"
    middle, least, most = map(short, (statistics.median(values), min(values), max(values)))
    return middle if least == most else f"{middle} ({least}-{most})"


def disturbed(rows, indent):
    """A line, or none."""
    stolen = [row["stolen"] for row in rows if row.get("stolen", 0) > figures.Stolen.MAX]
    return [f"{indent}{len(stolen)} of {len(rows)} measured without up to {max(stolen):.0%} of the "
            "processors, which others had"] if stolen else []


def starved(rows, indent):
    """A line, or none."""
    worst = min(rows, key=lambda row: row.get("served", 0) - row.get("clients", 0), default={})
    served, clients = worst.get("served", 0), worst.get("clients", 0)
    return [f"{indent}only {served} of {clients} clients were served"] if served < clients else []


def notes(rows, indent):
    """Lines on what rows of one server do not show as figures."""
    lines = []
    failures = [" ".join(row["failure"].split()) for row in rows if "failure" in row]
    if failures:
        lines.append(f"{indent}failed in {len(failures)} of {len(rows)} rounds: {failures[0]:.78}")
    failed = sum(row.get("failed", 0) for row in rows)
    if failed:
        lines.append(f"{indent}{failed} answers were no success")
    alone = max((row.get("not_connected", 0) for row in rows), default=0)
    if alone:
        lines.append(f"{indent}up to {alone} clients were not connected")
    return lines + starved(rows, indent)


def table(load, by_server, reference):
    """Text; medians over the rounds, then ratios to the reference within them."""
    by_server = {name: rows for name, rows in by_server.items() if rows}
    shown = [column for column in COLUMNS
             if any(median(rows, column[0]) is not None for rows in by_server.values())]
    widths = [max(len(title), len(form.format(0))) for _, title, form in shown]
    lines = [load, f"{'':{NAME}}" + " ".join(
        title.rjust(width) for (_, title, _), width in zip(shown, widths))]
    for name, rows in by_server.items():
        cells = []
        for (key, _, form), width in zip(shown, widths):
            value = with_spread(values_of(rows, key)) if key in SPREAD else median(rows, key)
            cells.append((form.format(value) if value is not None else "-").rjust(width))
        lines.append(f"{name:{NAME}}" + " ".join(cells))
        lines += notes(rows, " " * NAME) + disturbed(rows, " " * NAME)
    return "\n".join(lines + comparison(by_server, reference))


def comparison(by_server, reference):
    """Lines: what the others are to the reference, with the spread over the rounds."""
    if not (base := by_server.get(reference)):
        return []
    others = {name: rows for name, rows in by_server.items() if name != reference}
    shown = [column for column in COMPARED
             if any(ratios(rows, base, column[0]) for rows in others.values())]
    if not shown:
        return []
    lines = [("over " + reference, [title for _, title in shown])]
    for name, rows in others.items():
        lines.append((name, [with_spread(ratios(rows, base, key)) for key, _ in shown]))
    width = max(len(cell) for _, cells in lines for cell in cells) + 2
    return [f"{name:{NAME}}" + "".join(cell.rjust(width) for cell in cells)
            for name, cells in lines]


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


def write_file(path, text):
    """Whole, or not at all."""
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(path + ".new", path)


def plot(folder, load, by_server, reference):
    """CPU per request over the reference's, if there is what to compare."""
    base = by_server.get(reference, [])
    values = [(name, ratio(rows, base, "cpu_us")) for name, rows in by_server.items()
              if ratios(rows, base, "cpu_us")]
    if len(values) < 2:
        return
    os.makedirs(folder, exist_ok=True)
    write_file(os.path.join(folder, load.split(":")[0].replace(" ", "-") + ".svg"),
               bars(f"{load}: CPU per request over {reference}'s", "", values))
