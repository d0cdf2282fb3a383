#!/usr/bin/env bash
# `make run`: the combined server in the foreground with two demo users.  Everything it keeps is in
# the folder run/: remove it to start anew.  EAVES_ADDRESS (all), EAVES_PORT (5060), EAVES_HTTP_PORT
# (9060) and EAVES_RUN (run) change where it listens and what it keeps where.
# usage: deploy/demo.sh [FOLDER OF THE PROGRAMS]
set -eu
cd "$(dirname "$0")/.."
bin=${1:-build/release}
run=${EAVES_RUN:-run}
port=${EAVES_PORT:-5060}
http=127.0.0.1:${EAVES_HTTP_PORT:-9060}
address=${EAVES_ADDRESS:-0.0.0.0}

# The domain is the address that phones reach: the machine's first IPv4 address.
host=$address
if [ "$host" = 0.0.0.0 ]; then
	host=$(hostname -I 2>/dev/null | tr ' ' '\n' | grep -m 1 '^[0-9.]*$' || true)
	host=${host:-127.0.0.1}
fi

umask 077
mkdir -p "$run"
dir=$(cd "$run" && pwd)
ctl() { "$bin/eavesctl" --socket "$dir/admin.sock" "$@"; }
if ctl status >/dev/null 2>&1; then
	echo "A server runs from $run already: stop it first, with Ctrl-C where it was started." >&2
	exit 1
fi

cat >"$dir/eaves.yaml" <<END
# Written by deploy/demo.sh at every start; docs/configuration.md describes every key.
domain: "$host"
data_dir: "$dir/data"
store: sqlite
listeners:
  - {transport: udp, address: "$address", port: $port}
  - {transport: tcp, address: "$address", port: $port}
auth:
  realm: eaves # the passwords stay good when the machine's address changes
  sha256: false # Debian's baresip gives up when a challenge beside MD5's is offered
admin:
  socket: "$dir/admin.sock"
  http: "$http"
END

# A NAME PASSWORD line for each user, drawn once.
touch "$dir/passwords"
for user in alice bob; do
	grep -q "^$user " "$dir/passwords" ||
		echo "$user $(head -c 12 /dev/urandom | base64 | tr '+/' 'xy')" >>"$dir/passwords"
done

mkdir -p "$dir/data"
"$bin/eaves-combined" --config "$dir/eaves.yaml" &
server=$!
interrupted=
trap 'interrupted=1; kill -TERM $server 2>/dev/null || true' INT TERM

# The server says itself why it ended, if it did; a busy port gets a hint.
ended() {
	local status=0
	wait $server || status=$?
	[ -z "$interrupted" ] || exit 0
	cat >&2 <<END

The server could not start: its last line says why.  Where a port is in use by another program, choose
others:  ${EAVES_RUN:+EAVES_RUN=$EAVES_RUN }EAVES_PORT=5070 EAVES_HTTP_PORT=9070 make run
END
	exit $status
}

until ctl status >/dev/null 2>&1; do
	kill -0 $server 2>/dev/null || ended
	sleep 0.1
done
ctl user import <"$dir/passwords" >/dev/null

server_name=$host
[ "$port" = 5060 ] || server_name=$host:$port
users=$(awk '{printf "  user %-12s password %s\n", $1, $2}' "$dir/passwords")
echo "
Eaves is running.  Type into two SIP phones:

  server / domain   $server_name   (UDP or TCP)
$users

Then call  bob  (sip:bob@$server_name) from alice's phone.

  administration    $bin/eavesctl --socket $run/admin.sock help
  metrics           curl http://$http/metrics
  stop              Ctrl-C
"

# A signal ends a wait early, as often as one comes; the last one gives the server's own status.
while kill -0 $server 2>/dev/null; do
	wait $server || true
done
status=0
wait $server || status=$?
[ -z "$interrupted" ] || echo "Stopped."
exit $status
