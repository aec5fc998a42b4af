#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Instructions that a request's whole way takes (way.c) and each of its parts (micro.c), by
callgrind, whose counts are the same in each run. Compared with those that were noted at the
last change of bench/micro/instructions.json: more than 3 % more fails, and says in which
functions. What was not noted, for this kind of processor, is skipped.

    bench/micro/count.py            compare; ends with "N passed, N failed"
    bench/micro/count.py --write    note the present ones
    bench/micro/count.py --time     the parts by the clock instead, for a look
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


def functions(path):
    """Instructions by function (their own, without what they call), whatever forms of it the
    compiler has made."""
    counts, function, skip = {}, None, False
    with open(path, encoding="utf-8") as file:
        for line in file:
            if line.startswith("fn="):
                function = re.sub(r"\.(constprop|isra|lto_priv|part)\.\d+", "", line[3:].strip())
            elif line.startswith("calls="):
                skip = True  # the next line is what the called one took
            elif found := re.match(r"(?:\d+|\+\d+|-\d+|\*) (\d+)$", line):
                if not skip:
                    counts[function] = counts.get(function, 0) + int(found.group(1))
                skip = False
    return counts


def run(program, name, times):
    """Functions by part: of that name, or of those that the program says, with their processes.
    Without what happens in epoll_wait, where way.c has others run."""
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "callgrind")
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}.%p",
                   "--compress-strings=no", "--compress-pos=no", "--toggle-collect=epoll_wait",
                   "--collect-atstart=yes", program, name, str(times)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True) as process:
            said, errors = process.communicate()
        if process.returncode != 0:
            sys.exit(f"{' '.join(command)}: {process.returncode}\n{errors}")
        parts = re.findall(r"^(.*) (\d+)$", said, re.M) or [(name, process.pid)]
        return {part: functions(f"{out}.{pid}") for part, pid in parts}


def each(program, name):
    """Per time: the difference of two runs, so that start and end do not count. Also where it is
    negative: what one function took less another may have taken more."""
    few, many = run(program, name, FEW), run(program, name, MANY)
    return {part: {function: (counts.get(function, 0) - few[part].get(function, 0)) / (MANY - FEW)
                   for function in {**few[part], **counts}}
            for part, counts in many.items()}


def names_of(program):
    return subprocess.run([program], capture_output=True, text=True, check=True).stdout.split()


def peers(program, oracle):
    own = sum(each(program, "parse")["parse"].values())
    print(f"{'crew':16} {own:8.0f} instructions")
    names = names_of(oracle)
    for name in names:
        count = sum(each(oracle, name)[name].values())
        print(f"{name:16} {count:8.0f} instructions, {count / own:.2f} times crew's")
    for command in [[program, "parse"], *([oracle, name] for name in names)]:
        print(subprocess.run([*command, "500000"], capture_output=True, text=True,
                             check=True).stdout.strip())
    return 0


def compare(part, by_function, noted):
    """Print one line, and the functions if it takes more; what became of it."""
    total = sum(by_function.values())
    before = noted.get(part)
    fate = ("skipped" if not before else
            "FAILED" if total > before["instructions"] * WORSE else "ok")
    print(f"{fate:7} {part:24} {total:6.0f} instructions" +
          (f", {total / before['instructions'] - 1:+.1%}" if before else ""))
    if fate == "FAILED":
        old = before["functions"]
        grown = sorted(((count - old.get(function, 0), function)
                        for function, count in by_function.items()), reverse=True)[:5]
        for more, function in grown:
            if more >= 1:
                print(f"          {more:+9.0f} in {function}")
    return fate


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(HERE, "..", "..", "build"))
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--time", action="store_true")
    parser.add_argument("--peers", action="store_true")
    options = parser.parse_args()
    folder = os.path.join(options.build, "bench", "micro")
    micro, way = os.path.join(folder, "micro"), os.path.join(folder, "way")
    if options.peers:
        return peers(micro, os.path.join(folder, "oracle"))
    if options.time:
        for name in names_of(micro):
            print(subprocess.run([micro, name, "200000"], capture_output=True, text=True,
                                 check=True).stdout.strip())
        return 0
    kind = processor()
    all_noted = {}
    if os.path.exists(NOTED):
        with open(NOTED, encoding="utf-8") as file:
            all_noted = json.load(file)
    noted = all_noted.get(kind, {})
    found, fates = {}, []
    for program in (way, micro):
        for name in names_of(program):
            for part, by_function in each(program, name).items():
                fates.append(compare(part, by_function, noted))
                found[part] = {
                    "instructions": round(sum(by_function.values()), 1),
                    "functions": {function: round(count, 1) for function, count in sorted(
                        by_function.items(), key=lambda item: -item[1]) if count >= 1}}
    for part in sorted(noted.keys() - found.keys()):
        print(f"FAILED  {part:24} was noted and is no longer there")
        fates.append("FAILED")
    if options.write:
        with open(NOTED, "w", encoding="utf-8") as file:
            json.dump({**all_noted, kind: found}, file, indent=1)
            file.write("\n")
    if "skipped" in fates:
        print(f"{fates.count('skipped')} skipped: nothing was noted for them on this kind of "
              f"processor ({kind}), see --write")
    print(f"{fates.count('ok')} passed, {fates.count('FAILED')} failed")
    return 1 if "FAILED" in fates else 0


sys.exit(main())
