#!/usr/bin/env bash
# A baresip phone for one of the demo users of `make run`.  bob answers by himself.  It hears nothing
# and plays a tone, so that it runs anywhere; EAVES_AUDIO=alsa gives it the machine's sound card.
# usage: deploy/demo-phone.sh alice|bob [more options of baresip]
set -eu
cd "$(dirname "$0")/.."
user=${1:?usage: deploy/demo-phone.sh alice|bob}
shift
run=${EAVES_RUN:-run}
password=$(awk -v u="$user" '$1 == u { print $2 }' "$run/passwords" 2>/dev/null || true)
[ -n "$password" ] || {
	echo "There is no demo user $user: start the server with \"make run\" first." >&2
	exit 1
}
deploy/deps.sh phone
host=$(sed -n 's/^domain: "\(.*\)"$/\1/p' "$run/eaves.yaml")
port=$(sed -n 's/.*transport: udp.*port: \([0-9]*\).*/\1/p' "$run/eaves.yaml")
mode=manual
[ "$user" != bob ] || mode=auto
modules=$(dirname "$(find /usr/lib -path '*/baresip/modules/account.so' | head -n 1)")

umask 077
mkdir -p "$run/phone-$user"
dir=$(cd "$run/phone-$user" && pwd)
audio_module=ausine.so
player=aubridge,nil
source=ausine,440
rate=48000 # what the tone is made in
channels=2
if [ -n "${EAVES_AUDIO-}" ]; then
	audio_module=$EAVES_AUDIO.so
	player=$EAVES_AUDIO,default
	source=$EAVES_AUDIO,default
	rate=0 # its own
	channels=0
fi
interface=
case $host in 127.*) interface="net_interface 127.0.0.1" ;; esac # overlooked else
cat >"$dir/accounts" <<END
<sip:$user@$host:$port>;auth_pass=$password;answermode=$mode
END
cat >"$dir/config" <<END
poll_method epoll
$interface
audio_player $player
audio_source $source
audio_alert aubridge,nil
ausrc_srate $rate
ausrc_channels $channels
module_path $modules
module stdio.so
module g711.so
module aubridge.so
module $audio_module
module_app account.so
module_app menu.so
END
exec baresip -f "$dir" "$@"
