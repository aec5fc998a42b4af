# SPDX-License-Identifier: MIT
"""Systems that have less than usual: programs that are started through here are refused a system
call, by a filter for seccomp(2), as in containers and in units of systemd."""
import platform
import sys

import pytest

PROGRAM = """
import ctypes, os, struct, sys
LOAD, EQUAL, ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06
number, error, argument, bits = map(int, sys.argv[1:5])
refuse, allow = (RETURN, 0, 0, 0x00050000 | error), (RETURN, 0, 0, 0x7fff0000)
# In struct seccomp_data the arguments follow at 16, of 8 bytes each, the low half first.
steps = [(LOAD, 0, 0, 0), (EQUAL, 0, 3, number), (LOAD, 0, 0, 16 + 8 * argument),
         (ANY_BIT, 0, 1, bits), refuse, allow] if bits else [
         (LOAD, 0, 0, 0), (EQUAL, 0, 1, number), refuse, allow]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code)))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0, "PR_SET_NO_NEW_PRIVS"
assert libc.prctl(22, 2, program, 0, 0) == 0, "PR_SET_SECCOMP"
os.execv(sys.argv[5], sys.argv[5:])
"""

# By their numbers here; None where those are not known.
PREAD64, SENDFILE, OPENAT, IO_URING_SETUP, CLOSE_RANGE, OPENAT2 = {
    "x86_64": (17, 40, 257, 425, 436, 437),
    "aarch64": (67, 71, 56, 425, 436, 437),
}.get(platform.machine(), (None,) * 6)


def refusing(number, error, argument=0, bits=0):
    """What stands before a command (`before` of a Server) whose calls of that number fail so; with
    `bits` only those that have one of these in that argument (of six, from 0)."""
    if number is None:
        pytest.skip(f"no numbers of system calls are known for {platform.machine()}")
    return [sys.executable, "-c", PROGRAM, *map(str, (number, error, argument, bits))]
