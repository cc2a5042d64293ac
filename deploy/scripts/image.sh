# Brings images to Docker, and removes those that are not needed any more.
#
#   sh -c "$(cat image.sh)" atelier pull LIST REFERENCE
#   sh -c "$(cat image.sh)" atelier load|take LIST REFERENCE ARCHIVE SHA256
#   sh -c "$(cat image.sh)" atelier record LIST REFERENCE...
#   sh -c "$(cat image.sh)" atelier remove LIST [REFERENCE ID]...
#
# LIST is the file in which this deployment writes down what it brought: reference, id, and digest of
# the archive where there was one. pull reads a config.json of docker's client with a login from
# standard input, or nothing. take removes the archive, too.
set -eu
export LC_ALL=C
umask 022 # what containers and other users read must not depend on the host's
trap '' PIPE # finish what was begun even when no one listens any more

action=$1 list=$2
shift 2

id_of() { docker image inspect --format '{{.Id}}' "$1" 2>/dev/null || true; }

record() {
  line="$1 $(id_of "$1")${2:+ $2}"
  mkdir -p "$(dirname "$list")"
  if ! grep -qxF "$line" "$list" 2>/dev/null; then echo "$line" >>"$list"; fi
}

place_in_memory() {
  for place in "/run/user/$(id -u)" /run /dev/shm; do
    if [ -w "$place" ] && [ "$(stat -f -c %T "$place")" = tmpfs ]; then
      echo "$place"
      return
    fi
  done
  echo "there is no place in memory for the login: /dev/shm is no tmpfs that can be written to" >&2
  exit 1
}

# the login is in memory only, for this user alone, and only as long as it is needed
use_login() {
  place=$(place_in_memory)
  umask 077
  folder=$(mktemp -d "$place/atelier-pull-XXXXXXXX")
  trap 'rm -rf "$folder"' EXIT
  trap 'exit 1' HUP INT TERM
  # what a killed run left
  find "$place" -maxdepth 1 -name 'atelier-pull-*' -user "$(id -u)" -mmin +1440 -exec rm -rf {} +
  printf '%s' "$1" >"$folder/config.json"
  export DOCKER_CONFIG="$folder"
}

pull() {
  login=$(cat)
  if [ -n "$login" ]; then use_login "$login"; fi
  if ! output=$(docker image pull --quiet "$1" 2>&1); then
    echo "docker image pull failed: $output"
    exit 1
  fi
  umask 022
  record "$1"
}

load() {
  reference=$1 archive=$2 sha256=$3
  status=0
  output=$(docker image load --quiet --input "$archive" 2>&1) || status=1
  if [ "$action" = take ]; then rm -f "$archive"; fi
  if [ "$status" != 0 ] || [ -z "$(id_of "$reference")" ]; then
    echo "docker image load did not bring $reference: $output"
    exit 1
  fi
  record "$reference" "$sha256"
}

remove() {
  reference=$1 id=$2
  if [ "$(id_of "$reference")" = "$id" ]; then
    docker image rm "$reference" >/dev/null
  elif [ -n "$(id_of "$id")" ]; then
    # a name that moved on: what it left goes only if no one else has named it
    tags=$(docker image inspect --format '{{range .RepoTags}}{{.}}{{end}}' "$id")
    if [ -z "$tags" ]; then docker image rm "$id" >/dev/null; fi
  fi
  # 1: no line is left; 2: it could not be written, and the list that is there stays
  status=0
  grep -vF "$reference $id" "$list" >"$list.new" || status=$?
  if [ "$status" -le 1 ]; then mv "$list.new" "$list"; else rm -f "$list.new"; fi
}

case $action in
  pull) pull "$1" ;;
  load | take) load "$@" ;;
  record) for reference in "$@"; do record "$reference"; done ;;
  remove)
    while [ "$#" -gt 0 ]; do
      remove "$1" "$2"
      shift 2
    done
    ;;
esac
