# Weights of models in a cache of Hugging Face's client that all engines of a host share.
#
#   sh -c "$(cat weights.sh)" atelier look CACHE [REPOSITORY REVISION]...
#   sh -c "$(cat weights.sh)" atelier all CACHE
#   sh -c "$(cat weights.sh)" atelier fetch|place CACHE REPOSITORY IMAGE CODE
#   sh -c "$(cat weights.sh)" atelier remove CACHE [REPOSITORY RECORD COMMIT]...
#
# fetch runs fetch_weights.py (CODE) in an engine's image, with its job, and the token in it, on standard input.
# CACHE/hub is the client's; CACHE/atelier/ORG--NAME/REVISION says what belongs to a revision: its commit, and a line
# "SIZE BLOB PATH" for each file. It is written last, and ends with .begun as long as something is missing.
set -eu
export LC_ALL=C
# shellcheck disable=SC1091 # read_script puts it here
. docker_client.sh
umask 022 # what containers and other users read must not depend on the host's
trap '' PIPE # finish what was begun even when no one listens any more

action=$1 cache=$2
shift 2

folder_name() { echo "$1" | sed 's|/|--|g'; }

# sizes of what a record names, as far as it is there
sizes() {
  cd "$2" 2>/dev/null || return 0
  sed '1d' "$1" | cut -d ' ' -f 3- | tr '\n' '\0' | xargs -0 -r stat -L -c '%s %n' -- 2>/dev/null || true
}

look() {
  repository=$1 revision=$2
  folder=$cache/hub/models--$(folder_name "$repository")
  records=$cache/atelier/$(folder_name "$repository")
  echo "@weights $repository $revision"
  echo @record
  if [ -f "$records/$revision" ]; then
    cat "$records/$revision"
    commit=$(head -n 1 "$records/$revision")
    echo @ref
    cat "$folder/refs/$revision" 2>/dev/null || true
    echo
    echo @sizes
    (sizes "$records/$revision" "$folder/snapshots/$commit")
  fi
  echo @revisions
  find "$records" -maxdepth 1 -type f ! -name '*.begun' ! -name '*.new' -printf '%f\n' 2>/dev/null || true
  echo @blobs
  find "$folder/blobs" -maxdepth 1 -type f -printf '%s %f\n' 2>/dev/null || true
}

all() {
  find "$cache/atelier" -mindepth 2 -maxdepth 2 -type f ! -name '*.new' 2>/dev/null | while IFS= read -r record; do
    echo "@record ${record#"$cache/atelier/"}"
    cat "$record"
  done
  echo @commands
  ids=$(docker container ls --all --quiet 2>/dev/null) || true
  # shellcheck disable=SC2086 # a list
  [ -z "$ids" ] || docker container inspect --format '{{json .Config.Cmd}}' $ids
}

certificates() {
  for file in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/ca-bundle.pem; do
    if [ -s "$file" ]; then
      echo "$file"
      return
    fi
  done
}

lock() {
  mkdir -p "$cache/atelier"
  if command -v flock >/dev/null 2>&1; then
    # deployments share the cache, and a killed run may leave this script running: wait for it
    exec 9>>"$cache/atelier/$1.lock"
    flock --nonblock 9 && return
    # else the file system has no locks, as flock says
    [ "$?" = 1 ] || return 1
    echo "another run brings these weights: waiting for it"
    flock --wait 14400 9
  fi
}

run() {
  repository=$1 image=$2 code=$3
  job=$(cat)
  mkdir -p "$cache/hub"
  lock "$(folder_name "$repository")"
  name=atelier-weights-$(echo "$cache $repository" | sha256sum | cut -c 1-12)
  docker container rm --force "$name" >/dev/null 2>&1 || true
  user=$(id -u):$(id -g) network=host
  # there, root of the container is this user
  case $(docker info --format '{{.SecurityOptions}}') in *name=rootless*) user=0:0 ;; esac
  if [ "$action" = place ]; then network=none; fi
  set -- --rm --interactive --pull never --name "$name" --network "$network" --user "$user" \
    --cap-drop ALL --security-opt no-new-privileges --security-opt label=disable --read-only --tmpfs /tmp \
    --env HOME=/tmp --env HF_HOME=/tmp/huggingface --mount "type=bind,source=$cache,target=/weights"
  trusted=$(certificates)
  if [ -n "$trusted" ]; then
    set -- "$@" --mount "type=bind,source=$trusted,target=/trusted.pem,readonly" \
      --env SSL_CERT_FILE=/trusted.pem --env REQUESTS_CA_BUNDLE=/trusted.pem --env CURL_CA_BUNDLE=/trusted.pem
  fi
  printf '%s' "$job" | docker container run "$@" --entrypoint python3 "$image" -c "$code" "$action"
}

remove() {
  repository=$1 record=$2 commit=$3
  folder=$cache/hub/models--$(folder_name "$repository")
  records=$cache/atelier/$(folder_name "$repository")
  if command -v flock >/dev/null 2>&1; then
    exec 9>>"$records.lock"
    if ! flock --nonblock 9; then
      echo "$repository is being fetched: left alone"
      return
    fi
  fi
  blobs=$(sed '1d' "$records/$record" | cut -d ' ' -f 2 | sort -u)
  rm -f "$records/$record"
  if [ "$(cat "$folder/refs/${record%.begun}" 2>/dev/null)" = "$commit" ]; then rm -f "$folder/refs/${record%.begun}"; fi
  if ! grep -qsx "$commit" "$records"/*; then rm -rf "$folder/snapshots/${commit:?}"; fi
  kept=$(find "$folder/snapshots" -type l -printf '%l\n' 2>/dev/null | sed 's|.*/||')
  wanted=$(sed -s '1d' "$records"/* 2>/dev/null | cut -d ' ' -f 2)
  for blob in $blobs; do
    if ! printf '%s\n%s\n' "$kept" "$wanted" | grep -qx "$blob"; then rm -f "$folder/blobs/$blob" "$folder/blobs/$blob.part"; fi
  done
  if rmdir "$records" 2>/dev/null; then
    rmdir "$folder/blobs" "$folder/snapshots" "$folder/refs" "$folder" 2>/dev/null || true
    rm -f "$records.lock"
  fi
}

case $action in
  look)
    while [ "$#" -gt 0 ]; do
      look "$1" "$2"
      shift 2
    done
    ;;
  all) all ;;
  fetch | place) run "$@" ;;
  remove)
    while [ "$#" -gt 0 ]; do
      remove "$1" "$2" "$3"
      shift 3
    done
    ;;
esac
