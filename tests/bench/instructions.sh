#!/bin/sh
# instructions.sh PROGRAM BASELINE [--write]: instructions a message, counted by callgrind over the
# fixed replay of instructions.c, against BASELINE.  Fails where one has grown by more than 5 %.
# --write: BASELINE is written anew; say why in the commit.
set -eu
program=$1 baseline=$2
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
valgrind --quiet --tool=callgrind --callgrind-out-file="$out/cg" --toggle-collect='on_*' "$program" \
	>"$out/said" || { cat "$out/said"; echo "the replay went wrong"; exit 1; }
operations=$(awk '{print $2}' "$out/said")
callgrind_annotate --inclusive=yes --threshold=100 "$out/cg" |
	awk -v n="$operations" 'match($0, /:on_[a-z_]+/) {
		name = substr($0, RSTART + 4, RLENGTH - 4)
		sub(/ \(.*/, "")
		gsub(/[ ,]/, "")
		if (!(name in of)) order[++k] = name
		if ($0 + 0 > of[name]) of[name] = $0 + 0
	}
	END { for (i = 1; i <= k; i++) printf "%s %d\n", order[i], of[order[i]] / n }' |
	sort >"$out/now"
if [ "${3:-}" = --write ]; then
	cp "$out/now" "$baseline"
	cat "$baseline"
	exit 0
fi
awk 'NR == FNR { was[$1] = $2; next }
	{ change = was[$1] ? ($2 / was[$1] - 1) * 100 : 0
	  mark = !($1 in was) ? "  not in the baseline" : change > 5 ? "  GREW" : ""
	  printf "%-16s %7d  %+5.1f %%%s\n", $1, $2, change, mark
	  bad += mark != ""; seen++; delete was[$1] }
	END { for (i in was) { print i " is missing"; bad++ } exit bad > 0 || !seen }' "$baseline" "$out/now"
