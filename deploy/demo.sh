#!/usr/bin/env bash
# `make run`: the combined server in the foreground with two demo users.  Everything it keeps is in
# the folder run/: remove it to start anew.  EAVES_PORT (5060) and EAVES_ADDRESS change where it listens.
set -eu
cd "$(dirname "$0")/.."
bin=${1:-build/release}
dir=$PWD/run
port=${EAVES_PORT:-5060}
address=${EAVES_ADDRESS:-0.0.0.0}

host=$address
if [ "$host" = 0.0.0.0 ]; then
	host=$(hostname -I 2>/dev/null | awk '{print $1}')
	host=${host:-127.0.0.1}
fi

umask 077
mkdir -p "$dir"
cat >"$dir/eaves.yaml" <<EOF
# Written by deploy/demo.sh at every start; docs/configuration.md describes every key.
domain: "$host"
data_dir: "$dir/data"
store: sqlite
listeners:
  - {transport: udp, address: "$address", port: $port}
  - {transport: tcp, address: "$address", port: $port}
admin:
  socket: "$dir/admin.sock"
  http: "127.0.0.1:${EAVES_HTTP_PORT:-9060}"
EOF

"$bin/eaves-combined" --config "$dir/eaves.yaml" &
server=$!
trap 'kill -TERM $server 2>/dev/null || true' INT TERM
ctl() { "$bin/eavesctl" --socket "$dir/admin.sock" "$@"; }

until ctl status >/dev/null 2>&1; do
	kill -0 $server 2>/dev/null || { wait $server; exit $?; }
	sleep 0.1
done

touch "$dir/passwords"
for user in alice bob; do
	if ! grep -q "^$user " "$dir/passwords"; then
		password=$(head -c 12 /dev/urandom | base64 | tr '+/' 'xy')
		printf '%s\n' "$password" | ctl user add "$user" >/dev/null
		printf '%s %s\n' "$user" "$password" >>"$dir/passwords"
	fi
done

cat <<EOF

Eaves is running.  Type into two SIP phones:

  server / domain   $host$([ "$port" = 5060 ] || echo ":$port")   (UDP or TCP)
$(awk '{printf "  user %-12s password %s\n", $1, $2}' "$dir/passwords")

Then call  sip:bob@$host  from alice's phone.

  administration    $bin/eavesctl --socket run/admin.sock help
  metrics           curl http://127.0.0.1:${EAVES_HTTP_PORT:-9060}/metrics
  stop              Ctrl-C

EOF
status=0
wait $server || status=$?
# The first wait ends early when a signal comes; the second sees the server's own end.
if kill -0 $server 2>/dev/null; then
	status=0
	wait $server || status=$?
fi
exit $status
