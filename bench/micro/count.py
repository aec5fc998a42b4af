#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Instructions that each part of a request's way takes, by callgrind, whose counts are
the same in each run. Compared with those that were noted at the last change of
bench/micro/instructions.json: more than 3 % more fails, and says in which functions.

    bench/micro/count.py            compare; ends with "N passed, N failed"
    bench/micro/count.py --write    note the present ones
    bench/micro/count.py --time     by the clock instead, for a look
    bench/micro/count.py --peers    other parsers over the same request (script/setup bench)"""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
NOTED = os.path.join(HERE, "instructions.json")
WORSE = 1.03
FEW, MANY = 200, 1200


def processor():
    """What decides which of several forms of a function are taken, here and in libc."""
    with open("/proc/cpuinfo", encoding="ascii") as file:
        flags = re.search(r"^flags\s*: (.*)$", file.read(), re.M)
    have = set(flags.group(1).split()) if flags else set()
    return f"{os.uname().machine}{'-avx2' if 'avx2' in have else ''}"


def functions(program, name, times):
    """Instructions by function (their own, without what they call)."""
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "callgrind")
        subprocess.run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}",
                        "--compress-strings=no", "--compress-pos=no", program, name,
                        str(times)], check=True, capture_output=True)
        counts, function, skip = {}, None, False
        with open(out, encoding="utf-8") as file:
            for line in file:
                if line.startswith("fn="):
                    function = line[3:].strip()
                elif line.startswith("calls="):
                    skip = True  # the next line is what the called one took
                elif found := re.match(r"(?:\d+|\+\d+|-\d+|\*) (\d+)$", line):
                    if not skip:
                        counts[function] = counts.get(function, 0) + int(found.group(1))
                    skip = False
        return counts


def each(program, name):
    """Per time: the difference of two runs, so that start and end do not count."""
    few, many = functions(program, name, FEW), functions(program, name, MANY)
    return {function: (count - few.get(function, 0)) / (MANY - FEW)
            for function, count in many.items() if count > few.get(function, 0)}


def peers(program, oracle):
    own = sum(each(program, "parse").values())
    print(f"{'crew':16} {own:8.0f} instructions")
    names = subprocess.run([oracle], capture_output=True, text=True, check=True).stdout.split()
    for name in names:
        count = sum(each(oracle, name).values())
        print(f"{name:16} {count:8.0f} instructions, {count / own:.2f} times crew's")
    for command in [[program, "parse"], *([oracle, name] for name in names)]:
        print(subprocess.run([*command, "500000"], capture_output=True, text=True,
                             check=True).stdout.strip())
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(HERE, "..", "..", "build"))
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--time", action="store_true")
    parser.add_argument("--peers", action="store_true")
    options = parser.parse_args()
    program = os.path.join(options.build, "bench", "micro", "micro")
    names = subprocess.run([program], capture_output=True, text=True, check=True).stdout.split()
    if options.peers:
        return peers(program, os.path.join(options.build, "bench", "micro", "oracle"))
    if options.time:
        for name in names:
            print(subprocess.run([program, name, "200000"], capture_output=True, text=True,
                                 check=True).stdout.strip())
        return 0
    kind = processor()
    all_noted = {}
    if os.path.exists(NOTED):
        with open(NOTED, encoding="utf-8") as file:
            all_noted = json.load(file)
    noted = all_noted.get(kind, {})
    if not noted:
        print(f"nothing was noted for this kind of processor ({kind}): not compared")
    found, failed = {}, 0
    for name in names:
        by_function = each(program, name)
        total = sum(by_function.values())
        found[name] = {"instructions": round(total, 1), "functions": {
            function: round(count, 1) for function, count in sorted(
                by_function.items(), key=lambda item: -item[1]) if count >= 1}}
        before = noted.get(name, {}).get("instructions")
        worse = before is not None and total > before * WORSE
        failed += worse
        print(f"{'FAILED' if worse else 'ok':7} {name:12} {total:10.0f} instructions" +
              (f", {total / before - 1:+.1%}" if before else ""))
        if worse:
            old = noted[name]["functions"]
            grown = sorted(((count - old.get(function, 0), function)
                            for function, count in by_function.items()), reverse=True)[:5]
            for more, function in grown:
                print(f"          {more:+9.0f} in {function}")
    if options.write:
        with open(NOTED, "w", encoding="utf-8") as file:
            json.dump({**all_noted, kind: found}, file, indent=1)
            file.write("\n")
    print(f"{len(names) - failed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
