# The hub's part of the demo: two modules written with the official Azure IoT SDK, a route, a killed hub, a cut uplink, and
# the proof that every accepted reading arrived. Sourced by scripts/demo.

hub_pid() { "$decklog" --json list | tr '{' '\n' | sed -n 's/.*"name":"edgeHub".*"runtimeId":"\([0-9]*\)@.*/\1/p'; }
accepted_at_least() { [[ $(wc -l <"$dir/accepted.txt" 2>/dev/null || echo 0) -ge $1 ]]; }
cut_uplink() { touch "$dir/fleet/OFFLINE"; }
restore_uplink() { rm -f "$dir/fleet/OFFLINE"; }

missing_readings() {
  "$decklog" --json fleet telemetry --from-start --idle 2 2>/dev/null | grep -o '"n":[0-9]*' | cut -d: -f2 | sort -n -u >"$dir/arrived.txt"
  comm -23 <(sort -u "$dir/accepted.txt") <(sort -u "$dir/arrived.txt") | wc -l
}
all_arrived() { [[ $(missing_readings) == 0 ]]; }

if [[ -n $nats || -n $docker ]] || ! command -v node >/dev/null || ! command -v npm >/dev/null; then
  step "The hub's part of the demo runs with node and npm, on the local uplink: scripts/demo"
  return 0
fi

step "Now the Edge Hub: a sensor and a filter, written with the official Azure IoT SDK, unchanged"
mkdir -p "$dir/modules"
cp examples/modules/*.mjs examples/modules/package.json "$dir/modules/"
(cd "$dir/modules" && npm install --no-audit --no-fund --loglevel=error >/dev/null)
run fleet desired --module '$edgeHub' --put examples/hub-routes.json
node=$(command -v node)
cat >"$dir/hub.json" <<JSON
{
  "schemaVersion": "1.1",
  "systemModules": { "edgeHub": { "type": "process", "restartPolicy": "always", "restart": { "backoffFirstSecs": 1, "backoffCapSecs": 5 } } },
  "modules": {
    "sensor": {
      "type": "process", "restartPolicy": "always", "startupOrder": 2, "restart": { "backoffFirstSecs": 1, "backoffCapSecs": 5 },
      "env": { "ACCEPTED_FILE": { "value": "$dir/accepted.txt" }, "READINGS": { "value": "300" }, "PAUSE_MS": { "value": "50" } },
      "settings": { "command": ["$node", "$dir/modules/sensor.mjs"] }
    },
    "filter": {
      "type": "process", "restartPolicy": "always", "startupOrder": 1, "restart": { "backoffFirstSecs": 1, "backoffCapSecs": 5 },
      "settings": { "command": ["$node", "$dir/modules/filter.mjs"] }
    }
  }
}
JSON
run apply "$dir/hub.json"
wait_for 60 accepted_at_least 30
run list
run queues

step "The uplink is cut; the sensor goes on, the hub keeps its readings"
cut_uplink
wait_for 60 accepted_at_least 100
run queues

step "While cut off, the hub is killed with SIGKILL; the agent brings it back, the SDK reconnects"
kill -9 "$(hub_pid)"
wait_for 90 accepted_at_least 180
run list

step "The uplink is back: what was kept is drained"
restore_uplink
wait_for 90 accepted_at_least 300
wait_for 60 all_arrived || true
printf 'accepted by the hub: %s readings; of these missing upstream: %s\n' "$(sort -u "$dir/accepted.txt" | wc -l)" "$(missing_readings)"
[[ $(missing_readings) == 0 ]] || { echo "demo: readings are missing" >&2; exit 1; }
run queues
run clients
run history --service hub uplink --kind decision
run why edgeHub
