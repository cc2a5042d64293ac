# Runs HAProxy, and has it read its files again when they have changed: requests that are open go on.
# https://docs.haproxy.org/3.0/management.html#4
#
#   sh -c "$(cat watch.sh)" watch.sh DIRECTORY STOP_SECONDS
#
# /tmp/taken is as old as the directory whose files HAProxy goes by.
set -u
LOOKS=150
directory=$1 stop_seconds=$2 seen=/tmp/seen taken=/tmp/taken
workers() {
  for stat in /proc/[0-9]*/stat; do
    { read -r pid _ _ parent _ <"$stat"; } 2>/dev/null && [ "$parent" = "$main" ] && echo "$pid"
  done
}
stop() {
  kill -USR1 "$main"
  { sleep "$stop_seconds"; kill -TERM "$main"; } >/dev/null 2>&1 &
}
touch -r "$directory" "$seen" "$taken"
haproxy -W -db -C "$directory" -f haproxy.cfg &
main=$!
trap stop USR1 TERM INT
while kill -0 "$main" 2>/dev/null; do
  # a signal ends the wait, not the sleep
  sleep 1 &
  wait "$!"
  [ "$directory" -nt "$seen" ] || continue
  touch -r "$directory" "$seen"
  if haproxy -c -C "$directory" -f haproxy.cfg >/dev/null; then
    before=$(workers) looks=0
    kill -USR2 "$main" || break
    while [ "$(workers)" = "$before" ] && [ "$((looks += 1))" -le "$LOOKS" ]; do sleep 0.2; done
    # from HAProxy 3.1 on the new one reads them when it has started
    sleep 1
    if [ "$(workers)" = "$before" ]; then echo "HAProxy has not read what is there"; else touch -r "$seen" "$taken"; fi
  else
    echo "what is there is not taken; what was before goes on"
  fi
done
wait "$main"
