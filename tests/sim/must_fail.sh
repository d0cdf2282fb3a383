#!/usr/bin/env bash
# Runs of the simulator that are to fail, each with its ladder: a server without a partner is missed
# when it dies, a phone rings longer than it may, Redis keeps nothing of what came when it was back, a
# case crashes, a case does not end.
# usage: must_fail.sh SIM FOLDER     (the folder is for ladders, and made anew)
set -u
sim=$1 folder=$2 failed=0
# "    3.6070       |<---------|          |          1  INVITE 1 bob": no line of facts looks so.
ladder='^ +[0-9]+\.[0-9]{4} .*\|(-+>|<-+)\|.* [0-9]+  INVITE [12] (bob|carol)$'

wrong() {
	echo "FAILED: $1"
	failed=1
}

# is_told WHAT NAME LINE OPTION...: it fails, says so of the case NAME with that line, shows a ladder,
# and has written it into the folder too.  NAME may have "*" in place of its boundary.
is_told() {
	local what=$1 name=$2 line=$3 out
	shift 3
	rm -rf "$folder"
	out=$("$sim" --dir "$folder" --jobs 1 --limit 20 "$@" 2>&1) && wrong "$what is not missed"
	grep -qx "FAILED ${name/\*/[0-9]*}" <<<"$out" || wrong "$what: nobody says FAILED $name"
	grep -q "$line" <<<"$out" || wrong "$what: nobody says $line"
	grep -Eq "$ladder" <<<"$out" || wrong "$what: no ladder is shown"
	grep -Eqs "$ladder" "$folder"/$name.txt || wrong "$what: no ladder is written"
}

is_told "a server that dies" answered.eaves.6.kill "missing: " --flow answered --faults kill
is_told "a server that dies in a seed" seed.10.answered "missing: " --flow answered --faults kill --seeds 1 --seed 10
is_told "a phone that rings on" seed.5.forked "RANG ON" --topology cluster --flow forked --faults off --seeds 1 --seed 5 \
	--rings-on 1000
is_told "a Redis that forgets" "hour.redis.*.forget" "has not what redis has: binding:" --topology cluster --flow hour \
	--faults forget --points 1
is_told "a run that crashes" one "it crashed" --flow answered --one --at 6 --break crash
is_told "a run that does not end" one "it does not end" --flow answered --one --at 6 --break hang --limit 1
rm -rf "$folder"
exit $failed
