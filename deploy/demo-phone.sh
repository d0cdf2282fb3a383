#!/usr/bin/env bash
# A baresip phone for one of the demo users of `make run`, with a tone in place of a microphone.
# usage: deploy/demo-phone.sh alice|bob [more baresip options]
set -eu
cd "$(dirname "$0")/.."
user=${1:?usage: deploy/demo-phone.sh USER}
shift
command -v baresip >/dev/null || {
	echo "baresip is not installed: sudo apt-get install -y baresip" >&2
	exit 1
}
password=$(awk -v u="$user" '$1 == u { print $2 }' run/passwords 2>/dev/null || true)
[ -n "$password" ] || {
	echo "no demo user $user: start the server with \"make run\" first" >&2
	exit 1
}
host=$(sed -n 's/^domain: "\(.*\)"$/\1/p' run/eaves.yaml)
port=$(sed -n 's/.*transport: udp.*port: \([0-9]*\).*/\1/p' run/eaves.yaml)
mode=manual
[ "$user" = bob ] && mode=auto
modules=$(dirname "$(find /usr/lib -path '*baresip/modules/account.so' 2>/dev/null | head -1)")

umask 077
dir=run/phone-$user
mkdir -p "$dir"
# One second of a 440 Hz tone: 8 kHz, 16 bit, mono.
python3 - "$dir/tone.wav" <<'EOF'
import math, struct, sys, wave
w = wave.open(sys.argv[1], "wb")
w.setparams((1, 2, 8000, 8000, "NONE", ""))
w.writeframes(b"".join(struct.pack("<h", int(8000 * math.sin(2 * math.pi * 440 * i / 8000))) for i in range(8000)))
EOF
cat >"$dir/accounts" <<EOF
<sip:$user@$host:$port>;auth_pass=$password;answermode=$mode
EOF
cat >"$dir/config" <<EOF
poll_method epoll
sip_listen 0.0.0.0:0
audio_player aubridge,nil
audio_source aufile,$PWD/$dir/tone.wav
audio_alert aubridge,nil
module_path $modules
module stdio.so
module g711.so
module aufile.so
module aubridge.so
module_app account.so
module_app menu.so
EOF
exec baresip -f "$dir" "$@"
