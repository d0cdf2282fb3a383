#!/usr/bin/env bash
# `make cluster`: Redis, two edges and two pairs of homes on loopback addresses, two phones and a call;
# stays in the foreground until Ctrl-C and says how to kill what.  Everything it keeps is in the folder
# run/cluster.  `deploy/cluster.sh start NODE` starts a node again that was killed, or Redis.
# EAVES_NET: the first three bytes of its loopback addresses; EAVES_PORT: of SIP; EAVES_RUN: the folder.
# usage: deploy/cluster.sh [FOLDER OF THE PROGRAMS] | deploy/cluster.sh start NODE
set -eu
cd "$(dirname "$0")/.."
run=${EAVES_RUN:-run}/cluster
sip=${EAVES_PORT:-5060}
net=${EAVES_NET:-127.0.0}
domain=cluster.test
umask 077

ctl() { "$bin/eavesctl" --socket "$run/$1/admin.sock" "${@:2}"; }
role_of() { case $1 in e*) echo edge ;; *) echo home ;; esac; }
pair_of() { case $1 in e*) echo edge ;; *) echo "${1%?}" ;; esac; }
die() { printf '%s\n' "$@" >&2; exit 1; }

# Does the process of that file live, and is it still ours?  Numbers are given to others in time.
runs() {
	[ -s "$run/$1/pid" ] && tr '\0' ' ' 2>/dev/null <"/proc/$(cat "$run/$1/pid")/cmdline" | grep -q "$2"
}
node_runs() { if [ "$1" = redis ]; then runs redis redis-server; else runs "$1" "$run/$1/eaves.yaml"; fi; }

start_node() {
	"$bin/eaves-$(role_of "$1")" --config "$run/$1/eaves.yaml" </dev/null >/dev/null 2>>"$run/$1/log" &
	echo $! >"$run/$1/pid"
	disown # the shell says nothing of it when it is killed
}

start_redis() {
	redis-server --bind "${redis%:*}" --port "${redis#*:}" --dir "$(cd "$run" && pwd)/redis" --appendonly yes \
		--save "" --protected-mode yes --daemonize no </dev/null >>"$run/redis/log" 2>&1 &
	echo $! >"$run/redis/pid"
	disown
}

if [ "${1-}" = start ]; then
	runs . cluster.sh || die "No cluster runs from $run: make cluster starts one."
	. "$run/settings" # as they were there
	[ -n "${2-}" ] && [ -d "$run/$2" ] && [ "$2" != . ] || die "Which one?  It has: $(cd "$run" && echo */ | tr -d /)"
	! node_runs "$2" || die "$2 runs already."
	if [ "$2" = redis ]; then start_redis; else start_node "$2"; fi
	echo "$2 starts; its log is $run/$2/log"
	exit 0
fi

trap 'exit 0' INT TERM HUP
bin=${1:-build/release}
edges="e1:$net.11 e2:$net.12"
homes="h1a:$net.21 h1b:$net.22 h2a:$net.31 h2b:$net.32"
redis=$net.41:16379
[ -x "$bin/eaves-edge" ] && [ -x "$bin/eaves-home" ] && [ -x "$bin/eavesctl" ] && [ -x "$bin/bench/sipload" ] ||
	die "The programs are not in $bin: make cluster builds them, and starts them."
command -v redis-server >/dev/null && command -v redis-cli >/dev/null ||
	die "redis-server and redis-cli are needed and not there.  make cluster installs them; by hand it is" \
		"apt-get install redis-server redis-tools."
! runs . cluster.sh || die "A cluster runs from $run already: stop it first, with Ctrl-C where it was started;" \
	"or start this one elsewhere: EAVES_RUN=run2 EAVES_NET=127.0.1 make cluster"
left=
for name in e1 e2 h1a h1b h2a h2b redis; do
	! node_runs $name || left="$left $(cat "$run/$name/pid")"
done
[ -z "$left" ] || die "Of a cluster that was not stopped something runs on: kill$left"
mkdir -p "$run/redis"
rm -f "$run"/*/pid
for log in "$run"/*/log; do [ ! -f "$log" ] || mv -f "$log" "$log.old"; done
printf '%s\n' "bin=$bin" "redis=$redis" >"$run/settings"
[ -s "$run/secret" ] || head -c 32 /dev/urandom >"$run/secret"
dir=$(cd "$run" && pwd)

# ---- configuration: the same list of nodes everywhere ----
nodes=""
for n in $edges $homes; do
	name=${n%%:*} address=${n#*:}
	mkdir -p "$run/$name"
	# Both or none: a start that was interrupted has perhaps left one.
	[ -s "$run/$name/key" ] && [ -s "$run/$name/key.pub" ] || {
		rm -f "$run/$name/key"
		"$bin/eaves-edge" --make-key "$run/$name/key" >"$run/$name/key.pub"
	}
	nodes="$nodes
    - {name: $name, role: $(role_of "$name"), pair: $(pair_of "$name"), bus: \"$address:7400\", sip: \"$address:7401\", key: \"$(cat "$run/$name/key.pub")\"}"
done
for n in $edges $homes; do
	name=${n%%:*} address=${n#*:}
	cat >"$run/$name/eaves.yaml" <<END
# Written by deploy/cluster.sh at every start; docs/configuration.md describes every key.
domain: $domain
aliases: [$net.11, $net.12]
data_dir: "$dir/$name"
store: $(case $name in e*) echo memory ;; *) echo sqlite ;; esac)
listeners:
  - {transport: udp, address: $address, port: $sip}
  - {transport: tcp, address: $address, port: $sip}
  - {transport: tcp, address: $address, port: 7401, policy: cluster}
auth:
  sha256: false # Debian's baresip gives up when a challenge beside MD5's is offered
cluster:
  node: $name
  secret: "$dir/secret"
  bus_key: "$dir/$name/key"
  nodes:$nodes
$(case $name in e*) echo "redis: {servers: \"$redis\"}" ;; esac)
admin:
  socket: "$dir/$name/admin.sock"
  http: "$address:9060"
END
done

# ---- start ----
started="" sleeper=""
# However it ends nothing of it stays.  Nodes that were started again are no children of ours.
stop_all() {
	status=$?
	trap '' INT TERM HUP
	trap - EXIT
	[ -z "$sleeper" ] || kill $sleeper 2>/dev/null || true
	for name in $started; do
		! node_runs "$name" || kill "$(cat "$run/$name/pid")" 2>/dev/null || true
	done
	for name in $started; do
		while node_runs "$name"; do sleep 0.1; done
	done
	rm -f "$run"/*/pid "$run/pid"
	echo "Stopped."
	exit $status
}
trap stop_all EXIT
echo $$ >"$run/pid"

# It ended before all was up.
failed() {
	cat >&2 <<END

$1 could not start:
$(tail -n 3 "$run/$1/log" | sed 's/^/  /')

Where an address is in use:
  by "make run", which has port 5060 of all addresses:   stop it, or ${EAVES_RUN:+EAVES_RUN=$EAVES_RUN }EAVES_PORT=5070 make cluster
  by another cluster, at 127.0.0.11 and so on:           EAVES_RUN=run2 EAVES_NET=127.0.1 make cluster
All of the log is in $run/$1/log.
END
	exit 1
}
# A process that was just forked goes by our name until it is the program.
lives() {
	local n=0
	until node_runs "$1"; do
		[ $((n += 1)) -le 50 ] && kill -0 "$(cat "$run/$1/pid")" 2>/dev/null || return 1
		sleep 0.1
	done
}
none_failed() {
	for name in $started; do lives "$name" || failed "$name"; done
}
# usage: wait_for SECONDS WHAT COMMAND...
wait_for() {
	local seconds=$1 what=$2
	for ((i = 0; i < 10 * seconds; i++)); do
		! "${@:3}" || return 0
		none_failed
		sleep 0.1
	done
	die "" "$what did not happen within $seconds s; the logs are $run/NODE/log."
}
redis_answers() { node_runs redis && [ "$(timeout 1 redis-cli -h "${redis%:*}" -p "${redis#*:}" ping 2>/dev/null)" = PONG ]; }
sees_all() { [ "$(ctl "$1" cluster status 2>/dev/null | grep -c ' alive ')" -ge "$(case $1 in e*) echo 5 ;; *) echo 3 ;; esac)" ]; }
has_users() { [ "$(ctl "$1" status | awk '$1 == "users" { print $2 }')" -ge 6 ]; }

start_redis
started=redis
# Another Redis at that address would answer for ours, which ends then.
wait_for 10 "An answer of Redis" redis_answers
for n in $edges $homes; do
	start_node "${n%%:*}"
	started="$started ${n%%:*}"
done
for name in ${started#redis}; do
	wait_for 30 "That $name sees the other nodes" sees_all "$name"
done

# ---- users and a call between two phones ----
touch "$run/passwords"
for user in alice bob; do
	grep -q "^$user " "$run/passwords" ||
		echo "$user $(head -c 12 /dev/urandom | base64 | tr '+/' 'xy')" >>"$run/passwords"
done
{ cat "$run/passwords"; for i in 0 1 2 3; do echo "u$i p$i"; done; } | ctl e1 user import >/dev/null
ctl e1 user home alice h1 >/dev/null
ctl e1 user home bob h2 >/dev/null
wait_for 30 "That h2b has the users" has_users h2b
load() {
	"$bin/bench/sipload" "$1" --target "$net.11:$sip" --users 4 --domain $domain --uac $net.51 \
		--uas $net.52 --window 1 "${@:2}" | awk '$1 == "ok" || $1 == "failed" { print $1, $2 + 0 }' | xargs
}
echo "Phones register at the edge:        $(load reg --count 4)"
echo "One calls another, who answers:     $(load call --count 1 --ring-ms 200 --hold-ms 200)"

again="${EAVES_RUN:+EAVES_RUN=$EAVES_RUN }deploy/cluster.sh start h1a"
cat <<END

A cluster of two edges and two pairs of homes runs.  Type into SIP phones on this machine:

  server     $net.11:$sip, or $net.12:$sip for the other edge   domain  $domain
$(awk '{printf "  user       %-8s password %s\n", $1, $2}' "$run/passwords")

  who lives                  $bin/eavesctl --socket $run/e1/admin.sock cluster status
  twenty calls a second      $bin/bench/sipload call --target $net.11:$sip --users 4 --domain $domain \\
                               --uac $net.51 --uas $net.52 --rate 20 --seconds 60 --ring-ms 500
  kill one of a pair         kill -9 \$(cat $run/h1a/pid)        (any of:${started#redis}; redis)
                             of an edge the phones go to the other's address: what moves it is keepalived, docs/cluster.md
  start it again             $again
  what Redis holds           redis-cli -h ${redis%:*} -p ${redis#*:} keys '*'
  logs                       $run/NODE/log
  stop everything            Ctrl-C
END
tail --pid=$$ -f /dev/null </dev/null >/dev/null 2>&1 & # ends with us, however we do
sleeper=$!
wait
