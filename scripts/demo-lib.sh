# What the demo's steps are made of. Sourced by scripts/demo; everything started here is ended by pid in finish().

step() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
run() { printf '\033[36m$ decklog %s\033[0m\n' "$*"; "$decklog" "$@"; }

free_port() { python3 - <<'PY' 2>/dev/null || shuf -i 20000-40000 -n 1
import socket
s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])
PY
}

wait_for() {  # wait_for SECONDS COMMAND...
  local end=$((SECONDS + $1)); shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < end)) || { echo "demo: gave up waiting for: $*" >&2; return 1; }
    sleep 0.1
  done
}

write_config() {
  mkdir -p "$dir/run"
  {
    echo "device = \"demo-1\""
    echo "data_dir = \"$dir/data\""
    echo "run_dir = \"$dir/run\""
    echo "[uplink]"
    if [[ -n $nats ]]; then
      nats_port=$(free_port)
      nats-server -js -sd "$dir/nats" -a 127.0.0.1 -p "$nats_port" >"$dir/nats.log" 2>&1 & nats_pid=$!
      echo "kind = \"nats\""
      echo "url = \"nats://127.0.0.1:$nats_port\""
    else
      echo "kind = \"local\""
      echo "directory = \"$dir/fleet\""
    fi
    echo "[agent]"
    if [[ -n $docker ]]; then
      start_engine
      echo "docker_socket = \"$engine\""
    else
      echo "docker = false"
    fi
    echo "[hub]"
    echo "mqtt_tls = \"127.0.0.1:8883\""
    echo "https = \"off\""
  } >"$DECKLOG_CONFIG"
  if [[ -n $nats ]]; then wait_for 10 "$decklog" fleet init; run fleet init; fi
}

# A running engine is used; otherwise one is started for the demo, with its data in the demo's directory.
start_engine() {
  engine=/var/run/docker.sock
  if ! curl -s --max-time 2 --unix-socket "$engine" http://localhost/_ping >/dev/null 2>&1; then
    engine=$dir/docker.sock
    dockerd --data-root "$dir/docker" --exec-root "$dir/docker-exec" -H "unix://$engine" -p "$dir/docker.pid" >"$dir/docker.log" 2>&1 & docker_pid=$!
    wait_for 30 curl -s --max-time 2 --unix-socket "$engine" http://localhost/_ping
  fi
  mkdir -p "$dir/image/bin" "$dir/image/tmp"
  cp "$(command -v busybox)" "$dir/image/bin/busybox"
  for tool in sh sleep echo test touch rm kill; do ln -sf busybox "$dir/image/bin/$tool"; done
  tar -C "$dir/image" -c . | curl -s --unix-socket "$engine" -X POST -H 'Content-Type: application/x-tar' --data-binary @- \
    "http://localhost/images/create?fromSrc=-&repo=decklog-demo&tag=1" >/dev/null
}

start_agent() {
  "$decklog" agent >>"$dir/agent.log" 2>&1 & agent=$!
  wait_for 10 "$decklog" status || { cat "$dir/agent.log" >&2; return 1; }
}

deploy() {
  local file=examples/three-modules.json
  [[ -z $docker ]] || file=examples/three-containers.json
  if [[ -n $nats ]]; then
    run fleet desired --put "$file"
    wait_for 10 grep_list steady
  else
    run apply "$file"
  fi
}
grep_list() { "$decklog" list | grep -q "$1"; }

kill_module() {
  if [[ -n $docker ]]; then
    curl -s --unix-socket "$engine" -X POST "http://localhost/containers/$1/kill" >/dev/null
  else
    local id
    id=$("$decklog" --json list | tr '{' '\n' | sed -n "s/.*\"name\":\"$1\".*\"runtimeId\":\"\([0-9]*\)@.*/\1/p")
    kill -9 "$id"
  fi
}

show_reported() {
  if [[ -n $nats ]]; then run fleet reported | head -c 700; echo " ..."
  else
    printf '\033[36m$ cat fleet/reported/demo-1/_agent.json\033[0m\n'
    head -c 700 "$dir/fleet/reported/demo-1/_agent.json"; echo " ..."
  fi
}

finish() {
  local status=$?
  if [[ -n $agent ]] && kill -0 "$agent" 2>/dev/null; then
    echo '{"schemaVersion":"1.1","modules":{}}' | "$decklog" apply - >/dev/null 2>&1 || true
    wait_for 15 empty_list || true
    kill "$agent" 2>/dev/null || true
    wait "$agent" 2>/dev/null || true
  fi
  [[ -z $nats_pid ]] || { kill "$nats_pid" 2>/dev/null || true; wait "$nats_pid" 2>/dev/null || true; }
  [[ -z $docker_pid ]] || { kill "$docker_pid" 2>/dev/null || true; wait "$docker_pid" 2>/dev/null || true; }
  rm -rf "$dir" 2>/dev/null || true
  exit "$status"
}
empty_list() { [[ $("$decklog" --json list | grep -c '"name"') == 0 ]]; }
