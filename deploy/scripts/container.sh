# Changes one container and waits until it is healthy; if it does not become so, the one before
# serves again and the exit status is 1.
#
#   sh -c "$(cat container.sh)" atelier replace NAME TIMEOUT_SECONDS CREATE_ARGUMENT...
#   sh -c "$(cat container.sh)" atelier start|restart|wait|clean NAME TIMEOUT_SECONDS
#
# replace reads the secret part of the environment from standard input, a KEY=value a line.
# Whatever a killed run leaves behind, the next one goes on from:
#   NAME.next      created, never started
#   NAME.previous  the last one known to work; NAME beside it is not proven yet
set -eu
export LC_ALL=C
# else --env NAME, which keeps the proxies of Docker's client away, would take the host's
unset HTTP_PROXY HTTPS_PROXY FTP_PROXY ALL_PROXY NO_PROXY http_proxy https_proxy ftp_proxy all_proxy no_proxy
trap '' PIPE # finish what was begun even when nobody listens any more

action=$1 name=$2 timeout=$3
shift 3
next=$name.next previous=$name.previous reason=

say() { echo "$@" || true; }
quietly() { "$@" >/dev/null 2>&1; }
exists() { quietly docker container inspect "$1"; }

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

restore_previous() {
  quietly docker container rm --force "$name" || true
  if ! exists "$previous"; then
    say "it was removed; there was no container before it"
    return
  fi
  quietly docker container rename "$previous" "$name"
  quietly docker container start "$name" || true
  if wait_healthy; then
    say "it was removed; the container before it serves again"
  else
    say "it was removed; the container before it was started again, but $reason"
  fi
}

replace() {
  quietly docker container rm --force "$next" || true
  docker container create --name "$next" --env-file /dev/stdin "$@" >/dev/null
  if exists "$previous"; then
    quietly docker container rm --force "$name" || true
  elif exists "$name"; then
    docker container rename "$name" "$previous"
  fi
  if exists "$previous"; then quietly docker container stop "$previous"; fi
  docker container rename "$next" "$name"
  if error=$(docker container start "$name" 2>&1 >/dev/null) && wait_healthy; then
    if exists "$previous"; then quietly docker container rm --force "$previous"; fi
    return
  fi
  if [ -n "$error" ]; then reason="does not start: $error"; fi
  fail
  restore_previous
  exit 1
}

lock() {
  if command -v flock >/dev/null 2>&1; then
    exec 9>>"${TMPDIR:-/tmp}/atelier-$(id -u)-$name.lock"
    flock --wait $((timeout * 2 + 60)) 9
  fi
}

lock
case $action in
  replace) replace "$@" ;;
  clean) for name in "$next" "$previous"; do quietly docker container rm --force "$name" || true; done ;;
  start | restart)
    quietly docker container rm --force "$next" || true
    quietly docker container unpause "$name" || true
    if error=$(docker container "$action" "$name" 2>&1 >/dev/null) && wait_healthy; then exit 0; fi
    if [ -n "$error" ]; then reason="does not $action: $error"; fi
    fail
    exit 1
    ;;
  wait) wait_healthy || { fail; exit 1; } ;;
esac
