# SPDX-License-Identifier: MIT
"""The rows of a run, and what there are none of: kept in a file while it goes on."""
import json
import sys

import figures
import report


class Results:
    """`loads`: {load: {name: [row of each round]}}. What `reference` names is what the others
    are compared with in a round; by default what comes first in each load."""

    def __init__(self, about, path=None, reference=None):
        self.about, self.path, self.reference = about, path, reference
        self.loads, self.left_out, self.lacking = {}, {}, False
        self.write()

    def leave_out(self, name, why, wanted=True):
        """A server or a load; `wanted`: without it the run is not complete."""
        print(f"left out: {name}: {why}", flush=True)
        self.left_out[name] = why
        self.lacking |= wanted
        self.write()

    def begin(self, load, names):
        """Returns the rows by name, which are to come."""
        self.loads[load] = {name: [] for name in names}
        return self.loads[load]

    def measure(self, load, name, number, measure):
        """Add the row that it gives, or why it gave none."""
        print(f"  round {number}, {load.split(':')[0]}, {name}", file=sys.stderr)
        try:
            row = figures.undisturbed(measure)
        except Exception as error:  # whatever it is, what others gave shall not be lost for it
            row = {"failure": str(error) or repr(error)}
            print(f"  failed: {row['failure']}", file=sys.stderr)
        self.loads[load][name].append({"round": number, **row})
        self.write()

    def complete(self):
        """Whether there is something, and all that was begun, in each round."""
        return bool(self.loads) and not self.lacking and all(
            rows and all("failure" not in row for row in rows)
            for by_name in self.loads.values() for rows in by_name.values())

    def base(self, by_name):
        return by_name.get(self.reference or next(iter(by_name)), [])

    def write(self):
        """All of it, again: it is little."""
        if not self.path:
            return
        loads = {load: {name: [{**row, "ratios": report.ratios_of(row, self.base(by_name))}
                               for row in rows] for name, rows in by_name.items()}
                 for load, by_name in self.loads.items()}
        report.write_file(self.path, json.dumps(
            {"about": self.about, "loads": loads, "left_out": self.left_out}, indent=1) + "\n")
