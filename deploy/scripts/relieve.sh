# What container.sh does to a container that gives way: a new one runs beside it, and SIGHUP has it take no new
# requests and end with its last answer. What a killed run leaves behind:
#   NAME.previous     the last one known to work: it serves beside NAME, which is not proven yet
#   NAME.ending-ID    takes no new requests; whoever finds it ended removes it
# shellcheck disable=SC2034,SC2154 # container.sh has these variables

# relieve CREATE_ARGUMENT...
relieve() {
  create "$@"
  # a run that was killed had found that it works
  if is_container "$name.previous" && quietly judge; then let_go "$name.previous"; fi
  set_aside "$name"
  take "$name" next
  if error=$(begin start "$name" 2>&1 >/dev/null) && wait_healthy; then
    settle
    return
  fi
  if [ -n "$error" ]; then reason="does not start: $error"; fi
  fail
  restore "$name"
  exit 1
}

# the one before ends, and nothing is left of those that have ended
settle() {
  remove "$name.next"
  if is_container "$name" && is_container "$name.previous"; then let_go "$name.previous"; fi
  for each in $(docker container ls --all --filter "name=$name.ending-" --filter status=exited --format '{{.Names}}'); do
    case $each in "$name.ending-"*) remove "$each" ;; esac
  done
}

let_go() {
  # of a release without a listener: it has ports of its own, and knows no SIGHUP
  ports=$(docker container inspect --format '{{len .HostConfig.PortBindings}}' "$1" 2>/dev/null) || ports=0
  if [ "$ports" -gt 0 ]; then
    quietly docker container stop "$1" || true
    remove "$1"
    return
  fi
  # else Docker starts it again when it has ended
  if ! quietly docker container update --restart no "$1" || ! quietly docker container kill --signal HUP "$1"; then
    remove "$1"
    return
  fi
  ending=$name.ending-$(docker container inspect --format '{{.Id}}' "$1" | cut -c 1-12)
  docker container rename "$1" "$ending"
  # shellcheck disable=SC2016 # the shell that it starts replaces them
  # neither this script nor its locks wait for that
  nohup sh -c 'docker container wait "$1" && docker container rm "$1"' - "$ending" \
    </dev/null >/dev/null 2>&1 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- &
}
