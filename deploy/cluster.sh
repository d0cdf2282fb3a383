#!/usr/bin/env bash
# `make cluster`: Redis, two edges and two pairs of homes on loopback addresses, two phones and a call;
# stays in the foreground until Ctrl-C and says how to kill what.  Everything it keeps is in the folder
# run/cluster.  `deploy/cluster.sh start NODE` starts a node again that was killed.
# usage: deploy/cluster.sh [FOLDER OF THE PROGRAMS] | deploy/cluster.sh start NODE
set -eu
cd "$(dirname "$0")/.."
run=${EAVES_RUN:-run}/cluster
sip=${EAVES_PORT:-5060}
domain=cluster.test
edges="e1:127.0.0.11 e2:127.0.0.12"
homes="h1a:127.0.0.21 h1b:127.0.0.22 h2a:127.0.0.31 h2b:127.0.0.32"
redis=127.0.0.41:16379
umask 077

ctl() { "$bin/eavesctl" --socket "$run/$1/admin.sock" "${@:2}"; }
role_of() { case $1 in e*) echo edge ;; *) echo home ;; esac; }
pair_of() { case $1 in e*) echo edge ;; *) echo "${1%?}" ;; esac; }

start_node() {
	"$bin/eaves-$(role_of "$1")" --config "$run/$1/eaves.yaml" 2>>"$run/$1/log" &
	echo $! >"$run/$1/pid"
}

if [ "${1-}" = start ]; then
	bin=$(cat "$run/bin")
	[ -f "$run/${2:?a node}/eaves.yaml" ] || { echo "no node $2" >&2; exit 1; }
	kill -0 "$(cat "$run/$2/pid")" 2>/dev/null && { echo "$2 runs already" >&2; exit 1; }
	start_node "$2"
	disown
	echo "$2 starts; its log is $run/$2/log"
	exit 0
fi

bin=${1:-build/release}
if [ -f "$run/e1/pid" ] && kill -0 "$(cat "$run/e1/pid")" 2>/dev/null; then
	echo "A cluster runs from $run already: stop it first, with Ctrl-C where it was started." >&2
	exit 1
fi
mkdir -p "$run"
echo "$bin" >"$run/bin"
[ -s "$run/secret" ] || head -c 32 /dev/urandom >"$run/secret"
dir=$(cd "$run" && pwd)

# ---- configuration: the same list of nodes everywhere ----
nodes=""
for n in $edges $homes; do
	name=${n%%:*} address=${n#*:}
	mkdir -p "$run/$name"
	[ -s "$run/$name/key" ] || "$bin/eaves-edge" --make-key "$run/$name/key" >"$run/$name/key.pub"
	nodes="$nodes
    - {name: $name, role: $(role_of "$name"), pair: $(pair_of "$name"), bus: \"$address:7400\", sip: \"$address:7401\", key: \"$(cat "$run/$name/key.pub")\"}"
done
for n in $edges $homes; do
	name=${n%%:*} address=${n#*:}
	cat >"$run/$name/eaves.yaml" <<END
# Written by deploy/cluster.sh at every start; docs/configuration.md describes every key.
domain: $domain
aliases: [127.0.0.11, 127.0.0.12]
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
stop_all() {
	trap '' INT TERM
	[ -z "$sleeper" ] || kill $sleeper
	for name in $started redis; do
		[ -f "$run/$name/pid" ] && kill "$(cat "$run/$name/pid")" 2>/dev/null || true
	done
	wait 2>/dev/null || true
	echo "Stopped."
}
trap 'stop_all; exit 0' INT TERM

mkdir -p "$run/redis"
redis-server --bind "${redis%:*}" --port "${redis#*:}" --dir "$dir/redis" --appendonly yes --save "" \
	--protected-mode yes --daemonize no >"$run/redis/log" 2>&1 &
echo $! >"$run/redis/pid"
for n in $edges $homes; do
	start_node "${n%%:*}"
	started="$started ${n%%:*}"
done

# Every node sees those that it speaks with; who ends early says why in its log.
for name in $started; do
	until [ "$(ctl "$name" cluster status 2>/dev/null | grep -c ' alive ')" -ge "$(case $name in e*) echo 5 ;; *) echo 3 ;; esac)" ]; do
		kill -0 "$(cat "$run/$name/pid")" 2>/dev/null || {
			echo "$name could not start:" >&2
			tail -n 3 "$run/$name/log" >&2
			stop_all
			exit 1
		}
		sleep 0.1
	done
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
until [ "$(ctl h2b status | awk '$1 == "users" { print $2 }')" -ge 6 ]; do sleep 0.1; done
load() {
	"$bin/bench/sipload" "$1" --target "127.0.0.11:$sip" --users 4 --domain $domain --uac 127.0.0.51 \
		--uas 127.0.0.52 --window 1 "${@:2}" | awk '$1 == "ok" || $1 == "failed" { print $1, $2 + 0 }' | xargs
}
echo "Phones register at the edge:        $(load reg --count 4)"
echo "One calls another, who answers:     $(load call --count 1 --ring-ms 200 --hold-ms 200)"

cat <<END

A cluster of two edges and two pairs of homes runs.  Type into SIP phones on this machine:

  server     127.0.0.11:$sip, or 127.0.0.12:$sip for the other edge   domain  $domain
$(awk '{printf "  user       %-8s password %s\n", $1, $2}' "$run/passwords")

  who lives                  $bin/eavesctl --socket $run/e1/admin.sock cluster status
  twenty calls a second      $bin/bench/sipload call --target 127.0.0.11:$sip --users 4 --domain $domain \\
                               --uac 127.0.0.51 --uas 127.0.0.52 --rate 20 --seconds 60 --ring-ms 500
  kill one of a pair         kill -9 \$(cat $run/h1a/pid)        (any of:$started; redis)
  start it again             deploy/cluster.sh start h1a
  what Redis holds           redis-cli -h ${redis%:*} -p ${redis#*:} keys '*'
  logs                       $run/NODE/log
  stop everything            Ctrl-C
END
sleep infinity &
sleeper=$!
wait
