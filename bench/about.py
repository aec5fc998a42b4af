# SPDX-License-Identifier: MIT
"""What figures depend on: the machine, the build, the programs."""
import datetime
import os
import platform
import re
import subprocess

import servers

VERSION_OPTION = {"nginx": "-v", "haproxy": "-v", "h2o": "-v", "kore": "-v", "wrk": "-v"}


def said(command):
    """The first line that it says on either stream, or none."""
    try:
        done = subprocess.run(command, cwd=servers.HERE, stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip().split("\n")[0].strip() or None


def processor():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        found = re.search(r"^model name\s*:\s*(.*)", file.read(), re.M)
    return found.group(1) if found else platform.machine()


def about(compared, **options):
    """A dictionary for the report; `compared` are servers."""
    programs = {os.path.basename(command[0]): command[0]
                for command in [["wrk"], *(one for server in compared for one in server.commands)]}
    return {"date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "commit": said(["git", "describe", "--always", "--dirty", "--abbrev=12"]),
            "kernel": platform.release(),
            "processor": processor(),
            "processors": len(os.sched_getaffinity(0)),
            **options,
            "versions": {name: said([program, VERSION_OPTION.get(name, "--version")])
                         for name, program in programs.items()}}
