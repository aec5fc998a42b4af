# SPDX-License-Identifier: MIT
"""The benchmark is of what was built last."""
import os
import shutil
import subprocess

import pytest

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


@pytest.mark.parametrize("setup, build, code, runs", [(0, 0, 0, True), (1, 0, 0, True),
                                                      (0, 1, 1, False)])
def test_the_script_builds_even_if_nothing_can_be_installed(tmp_path, setup, build, code, runs):
    for path, text in (("script/setup", f"#!/bin/sh\nexit {setup}\n"),
                       ("script/build", f"#!/bin/sh\n: > built; exit {build}\n"),
                       ("bench/bench.py", "print('it runs')\n")):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
        (tmp_path / path).chmod(0o755)
    shutil.copy(os.path.join(ROOT, "script", "bench"), tmp_path / "script" / "bench")
    done = subprocess.run([tmp_path / "script" / "bench"], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, check=False)
    assert done.returncode == code and (tmp_path / "built").exists()
    assert ("it runs" in done.stdout) == runs
    assert bool(done.stderr) == bool(setup)
