# Runs HAProxy, and has it read its files again when they have changed: requests that are open go on.
# https://docs.haproxy.org/3.0/management.html#4
set -u
directory=$1 read=/tmp/read
touch -r "$directory" "$read"
haproxy -W -db -f "$directory/haproxy.cfg" &
main=$!
trap 'kill -USR1 "$main"' USR1 TERM INT
while kill -0 "$main" 2>/dev/null; do
  # a signal ends the wait, not the sleep
  sleep 1 &
  wait "$!"
  [ "$directory" -nt "$read" ] || continue
  touch -r "$directory" "$read"
  if haproxy -c -q -f "$directory/haproxy.cfg"; then kill -USR2 "$main"; else echo "what is there is not taken; what was before goes on"; fi
done
wait "$main"
