# People of the router, through its API: inside its container, where its key is.
#
#   sh -c "$(cat people.sh)" atelier look SCRIPT PORT CONTAINER...
#   sh -c "$(cat people.sh)" atelier apply SCRIPT PORT CONTAINER...
#   sh -c "$(cat people.sh)" atelier copy SCRIPT PORT CONTAINER... -- SCRIPT CONTAINER...
#
# look prints what there is, in one line of JSON; apply sends the requests on standard input. So does
# copy, with the keys that they name: those are in the router whose script and containers come last.
set -eu
action=$1 script=$2 port=$3
shift 3

# sets there and running: whether one of the containers is there, and the first that runs
find_running() {
  there="" running=""
  for container in "$@"; do
    [ "$container" != -- ] || break
    state=$(docker container inspect --format '{{.State.Status}}' "$container" 2>/dev/null) || continue
    there=yes
    [ "$state" != running ] || running=${running:-$container}
  done
}

find_running "$@"
if [ -n "$running" ] && [ "$action" = copy ]; then
  to=$running
  while [ "$1" != -- ]; do shift; done
  from_script=$2
  shift 2
  find_running "$@"
  if [ -z "$running" ]; then
    echo "no router runs: $*" >&2
    exit 1
  fi
  # printf is the shell's own: keys are in no argument of a program
  filled=$(docker exec -i "$running" python3 -c "$from_script" fill)
  printf '%s\n' "$filled" | docker exec -i "$to" python3 -c "$script" apply "$port"
elif [ -n "$running" ]; then
  exec docker exec -i "$running" python3 -c "$script" "$action" "$port"
elif [ "$action" != look ]; then
  echo "no router runs: $*" >&2
  exit 1
elif [ -n "$there" ]; then
  echo '{"state": "stopped"}'
else
  echo '{"state": "absent"}'
fi
