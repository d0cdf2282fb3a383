#!/usr/bin/env bash
# Installs the Debian packages that a target of the Makefile needs and that are missing.
# usage: deploy/deps.sh run|cluster|check|bench|lab|phone
set -eu

run="gcc make pkg-config libosip2-dev libevent-dev libc-ares-dev libssl-dev libsqlite3-dev libzmq3-dev libhiredis-dev libcyaml-dev libyaml-dev
	libprotobuf-c-dev protobuf-c-compiler openssl"
check="$run redis-server redis-sentinel check libsubunit-dev python3 python3-pytest sip-tester baresip linphone-cli prometheus valgrind clang
	clang-format libclang-rt-14-dev dnsmasq-base sox procps iproute2 redis-tools"
bench="$run python3 redis-server kamailio kamailio-sqlite-modules sqlite3"

case "${1-}" in
run) want=$run ;;
cluster) want="$run redis-server redis-tools" ;;
check) want=$check ;;
bench) want=$bench ;;
lab) want="$run redis-server redis-sentinel redis-tools kamailio keepalived nftables iproute2 util-linux procps python3 sip-tester" ;;
phone) want=baresip-core ;;
*)
	echo "usage: $0 run|cluster|check|bench|lab|phone" >&2
	exit 2
	;;
esac

missing=
for p in $want; do
	dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
done
[ -n "$missing" ] || exit 0

sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
[ -z "$sudo" ] || command -v sudo >/dev/null || {
	echo "Packages are missing, and there is no sudo to install them with.  As root:" >&2
	echo "    apt-get install --no-install-recommends$missing" >&2
	exit 1
}
echo "Installing with apt${sudo:+ (through sudo)}:$missing" >&2
export DEBIAN_FRONTEND=noninteractive
install() {
	# shellcheck disable=SC2086
	$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}
# A package list that is too old fails; a fresh one is fetched then, or when there is none.
if [ -z "$(ls /var/lib/apt/lists/*Packages* 2>/dev/null)" ] || ! install; then
	$sudo apt-get update -qq
	install
fi
