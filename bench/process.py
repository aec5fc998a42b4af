# SPDX-License-Identifier: MIT
"""How a measuring process ends: with all that it started stopped and its folder removed,
whatever ends it but SIGKILL. And how many descriptors it and its children may have."""
import atexit
import contextlib
import ctypes
import os
import resource
import shutil
import signal
import sys
import tempfile
import time

import servers

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PR_SET_CHILD_SUBREAPER = 36
PATIENCE_S = 5  # with who was asked to end
DESCRIPTORS = 32768  # at most: there are servers that have tables as long as their limit
SPARE = 200  # that a process has besides its clients


def ignore_signals():
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def leave(number, _frame):
    """By an exception, so that everybody cleans up; a second signal does not disturb it."""
    ignore_signals()
    sys.exit(128 + number)


def stop_all():
    """Who is left of what was started: a signal can come between a fork and its noting."""
    ignore_signals()
    asked, until = set(), time.monotonic() + PATIENCE_S
    while left := servers.family(os.getpid())[1:]:
        late = time.monotonic() > until
        for pid in left if late else set(left) - asked:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
        asked.update(left)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.01)


def begin():
    """Called by each main first. Temporary files are in one folder from now on."""
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup(1)
            signal.signal(number, leave)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)  # who loses its parent is ours
    tempfile.tempdir = tempfile.mkdtemp(prefix="crew-bench-")
    atexit.register(shutil.rmtree, tempfile.tempdir, ignore_errors=True)
    os.chmod(tempfile.tempdir, 0o755)  # servers become nobody
    atexit.register(stop_all)


def open_many():
    """Raise the limit of descriptors; returns what it is. Whoever is started has the same."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < DESCRIPTORS:
        soft = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft
