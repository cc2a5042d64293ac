# Changes containers and waits until they are healthy; if one does not become so, those before serve
# again and the exit status is 1.
#
#   sh -c "$(cat container.sh)" atelier replace NAME SECONDS INTERVAL START_INTERVAL CREATE_ARGUMENT...
#   sh -c "$(cat container.sh)" atelier prepare NAME SECONDS INTERVAL START_INTERVAL CREATE_ARGUMENT...
#   sh -c "$(cat container.sh)" atelier swap NAME,NAME,... 0 [NAME SECONDS]...
#   sh -c "$(cat container.sh)" atelier start|restart|wait|clean NAME SECONDS
#
# replace and prepare read the secret part of the environment from standard input, a KEY=value a line.
# prepare creates a container without starting it; swap stops the containers of its list, starts those
# that follow one after the other, and removes the stopped ones when all of these are healthy.
# Whatever a killed run leaves behind, the next one goes on from:
#   NAME.next      created, never started
#   NAME.previous  the last one known to work; NAME beside it is not proven yet
set -eu
export LC_ALL=C
# else --env NAME, which keeps the proxies of Docker's client away, would take the host's
unset HTTP_PROXY HTTPS_PROXY FTP_PROXY ALL_PROXY NO_PROXY http_proxy https_proxy ftp_proxy all_proxy no_proxy
trap '' PIPE # finish what was begun even when nobody listens any more
LC_ALL=C
export LC_ALL

action=$1 name=$2 timeout=$3
shift 3
reason=

say() { echo "$@" || true; }
quietly() { "$@" >/dev/null 2>&1; }
exists() { quietly docker container inspect "$1"; }
remove() { quietly docker container rm --force "$1" || true; }

wait_healthy() {
  deadline=$(($(date +%s) + timeout))
  format='{{.State.Status}} {{.RestartCount}} {{with .State.Health}}{{.Status}}{{end}}'
  while :; do
    status=$(docker container inspect --format "$format" "$name") || return 1
    state=${status%% *} health=${status##* } count=${status#* } count=${count%% *}
    reason="is $state and ${health:-not checked}, restarted $count times"
    if [ "$state/$health" = running/healthy ]; then return 0; fi
    # a container that was paused is unhealthy until its next check
    if [ "$health" = unhealthy ] && [ "$action" != start ]; then return 1; fi
    if [ "$count" -ge 3 ]; then return 1; fi
    if [ "$(date +%s)" -ge "$deadline" ]; then return 1; fi
    sleep 0.5
  done
}

fail() {
  say "container $name $reason; it had $timeout s to become healthy. Its last lines:"
  docker container logs --tail 40 "$name" 2>&1 | sed 's/^/    /' || true
}

# Docker 25 checks more often while a container starts; older ones have one interval for both
intervals() {
  api=$(docker version --format '{{.Server.APIVersion}}' 2>/dev/null) || api=1.0
  if [ "${api#1.}" -ge 44 ] 2>/dev/null && docker container create --help | grep -q health-start-interval; then
    echo "--health-interval $1s --health-start-interval $2s"
  else
    echo "--health-interval $(($2 * 2))s"
  fi
}

create() {
  steady=$1 starting=$2
  shift 2
  remove "$name.next"
  # SELinux hides the host's directories from a container that is confined
  if [ "$(cat /sys/fs/selinux/enforce 2>/dev/null)" = 1 ]; then set -- --security-opt label=disable "$@"; fi
  # shellcheck disable=SC2046 # two words each
  set -- $(intervals "$steady" "$starting") "$@"
  docker container create --name "$name.next" --env-file /dev/stdin "$@" >/dev/null
}

# whether Docker can publish a port at all, before anything that serves is stopped
can_publish() {
  # shellcheck disable=SC2046 # three words
  set -- $(docker container inspect --format '{{len .HostConfig.PortBindings}} {{.HostConfig.NetworkMode}} {{.Image}}' "$name.next")
  [ "$1" -gt 0 ] || return 0
  remove "$name.probe"
  # a program that is not there: Docker publishes the port, and then starts nothing
  quietly docker container create --name "$name.probe" --network "$2" --publish 127.0.0.1::1 \
    --entrypoint /atelier-probe "$3" || return 0
  error=$(docker container start "$name.probe" 2>&1 >/dev/null) || true
  remove "$name.probe"
  case $error in
    *'external connectivity'* | *iptables* | *nftables* | *'No chain'*)
      say "Docker cannot publish ports on this host, so $name was not replaced: $error"
      return 1
      ;;
  esac
}

set_aside() {
  if exists "$1.previous"; then
    remove "$1"
  elif exists "$1"; then
    docker container rename "$1" "$1.previous"
  fi
}

# all at once
stop_previous() {
  previous=
  for each; do
    if exists "$each.previous"; then previous="$previous $each.previous"; fi
  done
  # shellcheck disable=SC2086 # names are words
  [ -z "$previous" ] || quietly docker container stop $previous
}

restore() {
  for each; do
    remove "$each"
    remove "$each.next"
  done
  for name; do
    if exists "$name.previous"; then restore_one; else say "$name was removed; there was no container before it"; fi
  done
}

restore_one() {
  quietly docker container rename "$name.previous" "$name"
  if error=$(docker container start "$name" 2>&1 >/dev/null) && wait_healthy; then
    say "$name: the container before it serves again"
  else
    if [ -n "$error" ]; then reason="does not start: $error"; fi
    say "$name: the container before it was started again, but $reason"
  fi
}

# swap ALL [NAME SECONDS]...: ALL are the names of the containers that change, with commas between
swap() {
  all=$(echo "$1" | tr , ' ')
  shift
  for each in $all; do set_aside "$each"; done
  # shellcheck disable=SC2086 # names are words
  stop_previous $all
  while [ $# -gt 0 ]; do
    name=$1 timeout=$2
    shift 2
    docker container rename "$name.next" "$name"
    if error=$(docker container start "$name" 2>&1 >/dev/null) && wait_healthy; then continue; fi
    if [ -n "$error" ]; then reason="does not start: $error"; fi
    fail
    # shellcheck disable=SC2086
    restore $all
    exit 1
  done
  for each in $all; do
    if exists "$each.previous"; then remove "$each.previous"; fi
  done
}

# a run that was killed leaves this script running: wait for it
lock() {
  command -v flock >/dev/null 2>&1 || return 0
  descriptor=3
  for each in $(echo "$name" | tr , '\n' | sort); do
    [ "$descriptor" -le 9 ] || return 0
    eval "exec $descriptor>>\"\${TMPDIR:-/tmp}/atelier-$(id -u)-$each.lock\""
    flock --wait $((timeout * 2 + 600)) "$descriptor"
    descriptor=$((descriptor + 1))
  done
}

lock
case $action in
  prepare) create "$@" ;;
  replace)
    create "$@"
    if exists "$name" && ! can_publish; then
      remove "$name.next"
      exit 1
    fi
    swap "$name" "$name" "$timeout"
    ;;
  swap)
    names=$name
    for name in $(echo "$names" | tr , ' '); do
      if exists "$name.next" && ! can_publish; then
        for each in $(echo "$names" | tr , ' '); do remove "$each.next"; done
        exit 1
      fi
    done
    swap "$names" "$@"
    ;;
  clean) for end in next previous probe; do remove "$name.$end"; done ;;
  start | restart)
    remove "$name.next"
    quietly docker container unpause "$name" || true
    if error=$(docker container "$action" "$name" 2>&1 >/dev/null) && wait_healthy; then exit 0; fi
    if [ -n "$error" ]; then reason="does not $action: $error"; fi
    fail
    exit 1
    ;;
  wait) wait_healthy || { fail; exit 1; } ;;
esac
