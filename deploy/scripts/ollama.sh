# The models of one of Atelier's Ollamas, in a container or a daemon of launchd: what there is, and how
# it comes and goes. CONTAINER is its name, in either case.
#
#   sh -c "$(cat ollama.sh)" atelier look CONTAINER VOLUME IMAGE HOME
#   sh -c "$(cat ollama.sh)" atelier pull|create CONTAINER MODEL MANIFEST SOURCE
#   sh -c "$(cat ollama.sh)" atelier load CONTAINER MODEL
#   sh -c "$(cat ollama.sh)" atelier remove CONTAINER MODEL...
#
# create reads the Modelfile from standard input. What Atelier has made is written down next to the
# models, a line each: name, what it was made from, digest of its manifest. The name comes before
# the model and the digests after it, so that what a killed run leaves is made anew or removed.
set -eu
export LC_ALL=C
# shellcheck disable=SC1091 # read_script puts it here
. docker_client.sh
trap '' PIPE # finish what was begun even when no one listens any more

action=$1 container=$2
shift 2
# shellcheck disable=SC2016 # these run in the container
report='cd "$HOME" || exit 0
echo @record; cat models-by-atelier
echo @manifests; cd .ollama/models/manifests && find . -type f -exec ${sha256:-sha256sum} {} +'
# shellcheck disable=SC2016
write='cd "$HOME"; touch models-by-atelier
while read -r name rest; do [ "$name" = "$1" ] || echo "$name $rest"; done <models-by-atelier >models-by-atelier.new
[ -z "$2" ] || echo "$1 $2" >>models-by-atelier.new
mv models-by-atelier.new models-by-atelier'

say() { echo "$@" || true; }
quietly() { "$@" >/dev/null 2>&1; }
marks=/etc/atelier/services/$container/marks
is_daemon() { [ -f "$marks" ]; }
mark() { sed -n "s/^$1=//p" "$marks"; }

# as the daemon's account, which its models belong to
as_daemon() {
  code=$1
  shift
  sudo -n -u "$(mark User)" env "HOME=$(mark Directory)" "OLLAMA_HOST=$(mark Listens)" \
    "PATH=$(dirname "$(mark Program)"):$PATH" "sha256=shasum -a 256" sh -c "cd; $code" sh "$@"
}

# inside CODE ARGUMENT...: where the engine is
inside() { inside_reading "$@" </dev/null; }
inside_reading() {
  if is_daemon; then
    as_daemon "$@"
    return
  fi
  code=$1
  shift
  docker exec -i "$container" sh -c "$code" sh "$@"
}

# progress bars without their colours and movements
escape=$(printf '\033')
readable() { tr '\r' '\n' | sed "s/$escape\[[0-9;?]*[a-zA-Z]//g" | grep -v '^ *$' | tail -n 15 | sed 's/^/    /'; }

fail() {
  say "$1:"
  echo "$2" | readable || true
  exit 1
}

look() {
  if is_daemon; then
    inside "$report; echo @loaded; ollama ps" 2>/dev/null || true
    return
  fi
  state=$(docker container inspect --format '{{.State.Status}}' "$container" 2>/dev/null) || state=absent
  if [ "$state" = running ]; then
    inside "$report; echo @loaded; ollama ps" 2>/dev/null || true
  elif quietly docker volume inspect "$1" && quietly docker image inspect "$2"; then
    docker run --rm --pull never --network none --volume "$1:$3:ro" --env "HOME=$3" \
      --entrypoint sh "$2" -c "$report" 2>/dev/null || true
  fi
}

claim() {
  # shellcheck disable=SC2016 # for the shell inside
  inside 'grep -qs "^$1 " "$HOME/models-by-atelier" || echo "$1 - -" >>"$HOME/models-by-atelier"' "$model"
}

write_down() {
  # shellcheck disable=SC2016
  digest=$(inside 'cd "$HOME/.ollama/models/manifests" && ${sha256:-sha256sum} "$1"' "$manifest")
  inside "$write" "$model" "$source ${digest%% *}"
}

load() {
  # shellcheck disable=SC2016
  inside 'ollama run "$1" "" 2>&1' "$1"
}

# what a model is called until it has been loaded
next_of() { echo "${1%:*}:atelier-next"; }

create() {
  next=$(next_of "$model")
  claim
  # shellcheck disable=SC2016
  output=$(inside_reading 'file=$(mktemp) && cat >"$file" && ollama create "$1" -f "$file" 2>&1
created=$?; rm -f "$file"; exit $created' \
    "$next") || fail "$model was not created; what was there before still serves" "$output"
  if ! output=$(load "$next"); then
    # shellcheck disable=SC2016
    quietly inside 'ollama rm "$1"' "$next" || true
    quietly load "$model" || true
    fail "the new $model does not load; what was there before still serves" "$output"
  fi
  # shellcheck disable=SC2016
  quietly inside 'ollama cp "$1" "$2" && ollama rm "$1"' "$next" "$model"
  write_down
}

pull() {
  claim
  log=$(mktemp)
  # shellcheck disable=SC2016
  inside 'ollama pull "$1" 2>&1' "$model" >"$log" &
  job=$! seconds=0
  while quietly kill -0 "$job"; do
    sleep 1
    seconds=$((seconds + 1))
    if [ $((seconds % 15)) = 0 ]; then say "$model: $(tail -c 2000 "$log" | readable | tail -n 1 | sed 's/^ *//')"; fi
  done
  output=
  wait "$job" || output=$(cat "$log")
  rm -f "$log"
  if [ -n "$output" ]; then fail "$model was not pulled" "$output"; fi
  write_down
}

remove() {
  # one whose container goes may have been stopped
  if ! is_daemon; then quietly docker container start "$container" || true; fi
  for _ in $(seq 60); do
    if quietly inside 'ollama list'; then break; fi
    sleep 0.5
  done
  for model; do
    for each in "$model" "$(next_of "$model")"; do
      # shellcheck disable=SC2016
      if quietly inside 'ollama show "$1"' "$each"; then inside 'ollama rm "$1" 2>&1' "$each" >/dev/null; fi
    done
    inside "$write" "$model" ''
  done
}

lock() {
  if command -v flock >/dev/null 2>&1; then
    # a killed run leaves this script running: wait for it
    exec 9>>"${TMPDIR:-/tmp}/atelier-$(id -u)-$container-models.lock"
    flock --wait 7200 9
  fi
}

if [ "$action" != look ]; then lock; fi
case $action in
  look) look "$@" ;;
  pull | create)
    model=$1 manifest=$2 source=$3
    "$action"
    output=$(load "$model") || fail "$model does not load" "$output"
    ;;
  load) output=$(load "$1") || fail "$1 does not load" "$output" ;;
  remove) remove "$@" ;;
esac
