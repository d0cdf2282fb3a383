#!/usr/bin/env bash
# Runs the steps of `make check`: one line for each, its log in build/check/STEP.log, the end of the
# log where it failed.  All steps run, whatever fails; the last line counts the tests.
# usage: tests/check.sh [STEP...]     (no step: all of them)
set -u
cd "$(dirname "$0")/.."
export CK_VERBOSITY=normal LC_ALL=C
unset MAKEFLAGS MAKELEVEL MFLAGS
logs=build/check
mkdir -p $logs
passed=0 failed=0 skipped=0
started=$SECONDS
readonly ALL_S=3000 # whatever hangs: the end is told within the hour

# ThreadSanitizer wants addresses as they were before kernels drew them from 32 bits.
fixed=
! setarch -R true 2>/dev/null || fixed="setarch -R"
export TSAN_OPTIONS="suppressions=$PWD/tests/tsan.supp"

# All steps: name, seconds it may take, command.
steps() {
	local pytest="/usr/bin/python3 -m pytest -q -p no:cacheprovider -ra --durations=5"
	# Two at a time, by files: most of a test is waiting.
	halves() {
		echo "r=0; $1 tests/system/test_[a-e]*.py & $1 tests/system/test_[f-z]*.py || r=1; wait \$! || r=1; exit \$r"
	}
	local asan="$pytest -k \"not test_hostile and not test_phones and not test_readme\""
	cat <<END
build 600 make -j2 -k all next old
lint 120 make -k lint-rules
format 120 make format-check
reference 60 build/release/eaves-combined --reference | diff -u docs/configuration.md -
unit 600 make -j2 -k unit
sim 900 make -k sim-check
system 900 export EAVES_BIN=build/release; $(halves "$pytest")
build-asan 600 make -j2 -k FLAVOUR=asan all next
unit-asan 900 make -j2 -k FLAVOUR=asan unit
fuzz-replay 600 make -j2 -k FLAVOUR=asan fuzz-replay-run
oom 900 make -j2 -k FLAVOUR=asan oom-run
system-asan 900 export EAVES_BIN=build/asan EAVES_TIMEOUT=15; $(halves "$asan")
build-tsan 600 make -j2 -k FLAVOUR=tsan all
unit-tsan 900 $fixed make -j2 -k FLAVOUR=tsan unit
system-tsan 900 EAVES_BIN=build/tsan EAVES_TIMEOUT=20 EAVES_WORKERS=2 $fixed $pytest -k "(test_threads or test_end or test_calls or test_forking or test_streams or test_tls or test_flows or test_edge or test_phones_at_homes) and not test_drain" tests/system
END
}

# What a log says of its tests: "passed failed skipped".
count() {
	awk '
	/^[0-9]+%: Checks: / { gsub(",", ""); p += $3 - $5 - $7; f += $5 + $7 }
	/^(oom )?[a-z_]+: [0-9]+ (inputs|allocations)/ { p++ }
	/^sim: [0-9]+ runs, [0-9]+ failed/ { p += $2 - $4; f += $4 }
	/^=+ .*(passed|failed|error|skipped)|^[0-9]+ (passed|failed|error|skipped)/ {
		for (i = 2; i <= NF; i++) {
			if ($i ~ /^passed/ || $i ~ /^xfailed/) p += $(i - 1)
			else if ($i ~ /^failed/ || $i ~ /^error/ || $i ~ /^xpassed/) f += $(i - 1)
			else if ($i ~ /^skipped/) s += $(i - 1)
		}
	}
	END { print p + 0, f + 0, s + 0 }' "$1"
}

run() {
	local name=$1 limit=$2 log=$logs/$1.log status=0 from=$SECONDS p f s
	shift 2
	local left=$((started + ALL_S - SECONDS))
	[ "$limit" -lt $left ] || limit=$((left > 1 ? left : 1))
	timeout -k 10 "$limit" bash -o pipefail -c "$*" >"$log" 2>&1 </dev/null || status=$?
	read -r p f s < <(count "$log")
	[ "$p" != 0 ] || [ "$f" != 0 ] || [ $status != 0 ] || p=1 # a step without tests of its own
	[ $status = 0 ] || [ "$f" != 0 ] || f=1
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
	printf '%-14s %5d ok %4d bad %4d skipped %5d s' "$name" "$p" "$f" "$s" $((SECONDS - from))
	[ $status != 124 ] || printf '   out of time'
	printf '\n'
	if [ $status != 0 ] || [ "$f" != 0 ]; then
		grep -vE "^(gcc|clang|cc|ar) " "$log" | grep -E '(error:|warning:|Sanitizer|runtime error|:[FE]:|^FAILED|^ERROR|\*\*\*)' "$log" | head -n 30
		printf -- '-- the end of %s\n' "$log"
		grep -vE "^(gcc|clang|cc|ar) " "$log" | tail -n 40 | cut -c 1-300
		printf -- '--\n'
	fi
}

for step in "$@"; do
	steps | grep -q "^$step " && continue
	echo "no step $step; there are:" $(steps | cut -d' ' -f1) >&2
	exit 2
done
while read -r name limit command; do
	[ $# = 0 ] || [[ " $* " == *" $name "* ]] || continue
	run "$name" "$limit" "$command"
done < <(steps)

printf '%d s, logs in %s%s\n' $((SECONDS - started)) $logs "$([ $skipped = 0 ] || echo ", $skipped skipped")"
printf '%d passed, %d failed\n' $passed $failed
[ $failed = 0 ] && [ $passed != 0 ]
