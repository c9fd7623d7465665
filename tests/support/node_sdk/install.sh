#!/bin/sh
# Puts the official Node SDK and an MQTT client below $1, once: later runs see the stamp and touch no network.
set -eu
prefix=$1
packages="azure-iot-device@1.18.4 azure-iot-device-mqtt@1.16.4 mqtt@5"
stamp="$prefix/.installed"
mkdir -p "$prefix"
exec 9>"$prefix/.lock"
flock 9  # test runs in several build steps may begin at the same time
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$packages" ]; then exit 0; fi
[ -f "$prefix/package.json" ] || echo '{"private": true}' > "$prefix/package.json"
# shellcheck disable=SC2086
npm install --prefix "$prefix" --no-audit --no-fund --loglevel=error $packages
echo "$packages" > "$stamp"
