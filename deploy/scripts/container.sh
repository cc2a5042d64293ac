# Changes containers, services of systemd, and daemons of launchd, and waits until they are healthy; if one does not become
# so, those before serve again and the exit status is 1.
#
#   sh -c "$(cat container.sh)" atelier replace NAME SECONDS INTERVAL START_INTERVAL CREATE_ARGUMENT...
#   sh -c "$(cat container.sh)" atelier prepare|relieve NAME SECONDS INTERVAL START_INTERVAL CREATE_ARGUMENT...
#   sh -c "$(cat container.sh)" atelier replace|prepare NAME SECONDS systemd UNIT_FILE
#   sh -c "$(cat container.sh)" atelier replace|prepare NAME SECONDS launchd PROPERTY_LIST MARKS
#   sh -c "$(cat container.sh)" atelier swap NAME,NAME,... 0 [keep=NAME,...] [NAME SECONDS]...
#   sh -c "$(cat container.sh)" atelier start|restart|enable|wait|clean|settle|remove NAME SECONDS
#   sh -c "$(cat container.sh)" atelier ready|tell NAME SECONDS
#   sh -c "$(cat container.sh)" atelier halt NAME,NAME,... 0 GONE,GONE,...
#   sh -c "$(cat container.sh)" atelier drop NAME,NAME,... 0 NEW,NEW,...
#   sh -c "$(cat container.sh)" atelier launch|revive|glance|clean|stop NAME,NAME,... 0
#
# replace, prepare and relieve read the secret part of the environment from standard input, a KEY=value a line.
# A container and a service of one name are one after the other: a unit that moved from one to the other.
# relieve replaces a container that gives way, and settle ends such a change: relieve.sh.
# prepare creates a container without starting it; swap stops the containers of its list, starts those
# that follow one after the other, and removes the stopped ones when all of these are healthy, but for
# those to keep, which stay as NAME.previous.
# The same in steps, which several hosts take together: halt stops what is there, and sets aside what
# was prepared anew or is GONE; launch starts; glance says how far they are; clean removes what was set
# aside, or drop the new ones (NEW: those that nothing was there of before), and revive starts the others.
# stop tells containers to end, all at the same time, and kills those that take longer than their stop timeout.
# Whatever a killed run leaves behind, the next one goes on from:
#   NAME.next      created, never started
#   NAME.previous  the last one known to work; NAME next to it is not proven yet
set -eu
export LC_ALL=C
# shellcheck disable=SC1091 # read_script puts it here
. docker_client.sh
trap '' PIPE # finish what was begun even when no one listens any more
LC_ALL=C
export LC_ALL

action=$1 name=$2 timeout=$3
shift 3
# shellcheck disable=SC2034 # systemd.sh reads it
reason='' began=$(date +%s) kept=''

say() { echo "$@" || true; }
quietly() { "$@" >/dev/null 2>&1; }
# shellcheck disable=SC1091 # read_script puts it here
. systemd.sh
if [ "$(uname)" = Darwin ]; then
  # shellcheck disable=SC1091
. launchd.sh
fi
# shellcheck disable=SC1091
. relieve.sh
is_container() { quietly docker container inspect "$1"; }
exists() { is_service "$1" || is_container "$1"; }
noun_of() { if is_service "$1"; then echo service; else echo container; fi; }
remove() {
  if is_service "$1"; then remove_service "$1"; fi
  quietly docker container rm --force "$1" || true
}

# 0: healthy; 1: it will not become so; 2: not yet
judge() {
  format='{{.State.Status}} {{.RestartCount}} {{with .State.Health}}{{.Status}}{{end}}'
  status=$(docker container inspect --format "$format" "$name") || { reason='is not there'; return 1; }
  state=${status%% *} health=${status##* } count=${status#* } count=${count%% *}
  reason="is $state and ${health:-not checked}, restarted $count times"
  if [ "$state/$health" = running/healthy ]; then return 0; fi
  # a container that was paused is unhealthy until its next check
  if [ "$health" = unhealthy ] && [ "$action" != start ]; then return 1; fi
  if [ "$count" -ge 3 ]; then return 1; fi
  return 2
}

wait_healthy() {
  if is_service "$name"; then
    wait_service
    return
  fi
  deadline=$(($(date +%s) + timeout))
  while :; do
    judge && return 0
    if [ $? -eq 1 ]; then return 1; fi
    if [ "$(date +%s)" -ge "$deadline" ]; then return 1; fi
    sleep 1
  done
}

fail() {
  say "$(noun_of "$name") $name $reason; it had $timeout s to become healthy. Its last lines:"
  log_of "$name" 2>&1 | sed 's/^/    /' || true
}

log_of() {
  if is_service "$1"; then service_log "$1"; else docker container logs --tail 40 "$1"; fi
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
  case $1 in
    systemd | launchd)
      shift
      create_service "$name" "$@"
      return
      ;;
  esac
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
  is_container "$name.next" || return 0
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
    return
  fi
  if is_service "$1"; then set_service_aside "$1"; fi
  if is_container "$1"; then docker container rename "$1" "$1.previous"; fi
}

# take NAME next|previous: it gets its own name
take() {
  if is_service "$1.$2"; then take_service "$1" "$2"; else docker container rename "$1.$2" "$1"; fi
}

# begin start|restart NAME
begin() {
  if is_service "$2"; then start_service "$2" "$1"; else docker container "$1" "$2"; fi
}

# all at once; fails if one of them runs on: AppArmor, or a driver that hangs, may keep Docker from ending it
stop_previous() {
  previous=
  for each; do
    if is_service "$each.previous"; then stop_service "$each"; fi
    if is_container "$each.previous"; then previous="$previous $each.previous"; fi
  done
  [ -n "$previous" ] || return 0
  # shellcheck disable=SC2086 # names are words
  if error=$(docker container stop $previous 2>&1 >/dev/null); then return 0; fi
  for each in $previous; do
    [ "$(docker container inspect --format '{{.State.Running}}' "$each" 2>/dev/null)" = true ] || continue
    say "container ${each%.previous} cannot be stopped: $error"
    return 1
  done
}

restore() {
  for each; do
    remove "$each"
    remove "$each.next"
  done
  for name; do
    if exists "$name.previous"; then restore_one; else say "$name was removed; there was nothing before it"; fi
  done
}

restore_one() {
  before=$(noun_of "$name.previous")
  quietly take "$name" previous
  if error=$(begin start "$name" 2>&1 >/dev/null) && wait_healthy; then
    say "$name: the $before before it serves again"
  else
    if [ -n "$error" ]; then reason="does not start: $error"; fi
    say "$name: the $before before it was started again, but $reason"
  fi
}

# swap ALL [NAME SECONDS]...: ALL are the names of the containers that change, with commas between
swap() {
  all=$(echo "$1" | tr , ' ')
  shift
  for each in $all; do set_aside "$each"; done
  # shellcheck disable=SC2086 # names are words
  if ! stop_previous $all; then
    restore $all
    exit 1
  fi
  while [ $# -gt 0 ]; do
    name=$1 timeout=$2
    shift 2
    take "$name" next
    if error=$(begin start "$name" 2>&1 >/dev/null) && wait_healthy; then continue; fi
    if [ -n "$error" ]; then reason="does not start: $error"; fi
    fail
    # shellcheck disable=SC2086
    restore $all
    exit 1
  done
  for each in $all; do
    # of one that goes a killed run may have prepared another
    if exists "$each.next"; then remove "$each.next"; fi
    case ",$kept," in *",$each,"*) continue ;; esac
    if exists "$each.previous"; then remove "$each.previous"; fi
  done
}

# can_publish_all NAME...: else nothing of what was prepared stays
can_publish_all() {
  for name; do
    if exists "$name.next" && ! can_publish; then
      for each; do remove "$each.next"; done
      return 1
    fi
  done
}

# halt GONE NAME...
halt() {
  gone=$1
  shift
  can_publish_all "$@" || return 1
  for each; do
    case ",$gone," in
      *",$each,"*)
        set_aside "$each"
        remove "$each.next"
        ;;
    esac
    if exists "$each.next"; then set_aside "$each"; fi
  done
  stop_previous "$@" || return 1
  stop_all "$@"
}

stop_all() {
  there=
  for each; do if is_container "$each"; then there="$there $each"; fi; done
  # shellcheck disable=SC2086 # names are words
  [ -z "$there" ] || quietly docker container stop $there
}

# launch NAME...
launch() {
  for each; do
    if exists "$each.next"; then take "$each" next; fi
    if ! error=$(begin start "$each" 2>&1 >/dev/null); then
      say "$(noun_of "$each") $each does not start: $error"
      return 1
    fi
  done
}

# drop NEW NAME...
drop() {
  new=$1
  shift
  for each; do
    remove "$each.next"
    if exists "$each.previous"; then remove "$each"; continue; fi
    case ",$new," in
      *",$each,"*)
        remove "$each"
        say "$each was removed; there was nothing before it"
        ;;
    esac
  done
  stop_all "$@"
}

# revive NAME...
revive() {
  for each; do
    if exists "$each.previous"; then take "$each" previous; fi
    exists "$each" || continue
    if ! error=$(begin start "$each" 2>&1 >/dev/null); then
      say "$(noun_of "$each") $each does not start again: $error"
    fi
  done
}

# a line of each: ok, wait or failed, its name, and why
glance() {
  for name; do
    word=ok
    judge || case $? in 1) word=failed ;; *) word='wait' ;; esac
    say "$word $name $reason"
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

case $action in glance | tell) ;; *) lock ;; esac
names=$(echo "$name" | tr , ' ')
# shellcheck disable=SC2086 # names are words
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
    all=$name
    case ${1:-} in keep=*) kept=${1#keep=} && shift ;; esac
    can_publish_all $names || exit 1
    swap "$all" "$@"
    ;;
  relieve) relieve "$@" ;;
  settle) settle ;;
  halt | drop) "$action" "$1" $names ;;
  launch | revive | glance) "$action" $names ;;
  stop) stop_all $names || true ;;
  clean)
    for name in $names; do
      for end in next previous probe; do remove "$name.$end"; done
    done
    ;;
  ready)
    remove "$name.next"
    if ! is_container "$name"; then
      say "container $name is not there any more: run again"
      exit 1
    fi
    quietly docker container unpause "$name" || true
    ;;
  tell)
    judge || true
    say "$(noun_of "$name") $name $reason. Its last lines:"
    log_of "$name" 2>&1 | sed 's/^/    /' || true
    ;;
  start | restart)
    remove "$name.next"
    quietly docker container unpause "$name" || true
    if is_service "$name"; then install_service "$name"; fi
    if error=$(begin "$action" "$name" 2>&1 >/dev/null) && wait_healthy; then exit 0; fi
    if [ -n "$error" ]; then reason="does not $action: $error"; fi
    fail
    exit 1
    ;;
  enable) install_service "$name" ;;
  remove)
    # it answers what it has begun
    if is_container "$name"; then quietly docker container stop "$name" || true; fi
    remove "$name"
    if exists "$name"; then
      say "$(noun_of "$name") $name cannot be removed: $(docker container rm --force "$name" 2>&1)"
      exit 1
    fi
    ;;
  wait) wait_healthy || { fail; exit 1; } ;;
esac
