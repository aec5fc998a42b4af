#!/bin/bash
# SPDX-License-Identifier: MIT
# Check the model of the link with spin: the protocol as it is must have no error
# in any interleaving; each variant with one step taken out must have one.
set -eu
model=$(cd "$(dirname "$0")" && pwd)/link.pml
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

passed=0
failed=0

errors() { # OPTIONS: the number of errors that the verifier finds
	rm -f pan* link.pml.trail
	spin "$@" -a "$model" >spin.log 2>&1 && gcc -O1 -w -o pan pan.c >>spin.log 2>&1 || {
		cat spin.log >&2
		echo broken
		return
	}
	./pan -m100000 >pan.log 2>&1 || true
	grep -q 'max search depth too small' pan.log && { echo broken; return; }
	sed -n 's/.*errors: \([0-9]*\).*/\1/p' pan.log
}

expect() { # WHAT TEST OPTIONS
	local what=$1 test=$2 found
	shift 2
	found=$(errors "$@")
	if [ "$found" != broken ] && [ -n "$found" ] && [ "$found" "$test" 0 ]; then
		echo "ok      $what: errors: $found"
		passed=$((passed + 1))
	else
		echo "FAILED  $what: errors: ${found:-none told}"
		failed=$((failed + 1))
	fi
}

expect "the protocol loses no wake-up and no entry" -eq
expect "without the second look before sleeping a wake-up is lost" -gt -DNO_RECHECK
expect "without the second look for room who waits for it is not woken" -gt -DNO_ROOM
expect "without the fences a wake-up is lost" -gt -DNO_FENCE
expect "without looking at the head an entry is lost" -gt -DNO_HEAD
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
