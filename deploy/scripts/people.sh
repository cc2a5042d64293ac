# People of the router, through its API: inside its container, where its key is.
#
#   sh -c "$(cat people.sh)" atelier look SCRIPT PORT CONTAINER...
#   sh -c "$(cat people.sh)" atelier apply SCRIPT PORT CONTAINER...
#
# look prints what there is, in one line of JSON; apply sends the requests on standard input.
set -eu
action=$1 script=$2 port=$3
shift 3
there="" running=""
for container in "$@"; do
  state=$(docker container inspect --format '{{.State.Status}}' "$container" 2>/dev/null) || continue
  there=yes
  [ "$state" != running ] || running=${running:-$container}
done
if [ -n "$running" ]; then
  exec docker exec -i "$running" python3 -c "$script" "$action" "$port"
elif [ "$action" = apply ]; then
  echo "no router runs: $*" >&2
  exit 1
elif [ -n "$there" ]; then
  echo '{"state": "stopped"}'
else
  echo '{"state": "absent"}'
fi
