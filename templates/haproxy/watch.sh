# Runs HAProxy, and has it read its files again when they have changed: requests that are open go on.
# https://docs.haproxy.org/3.0/management.html#4
#
#   sh -c "$(cat watch.sh)" watch.sh DIRECTORY STOP_SECONDS LISTENER
#
# /tmp/taken is as old as the directory whose files HAProxy goes by. LISTENER is the socket of who listens in its
# place, and gives HAProxy the sockets that connections come to. SIGHUP lets HAProxy take no new
# connections and end with the last answer; any other signal that ends it, within STOP_SECONDS.
set -u
LOOKS=150
directory=$1 stop_seconds=$2 listener=$3 seen=/tmp/seen taken=/tmp/taken heard=/tmp/heard ends=
workers() {
  for stat in /proc/[0-9]*/stat; do
    { read -r pid _ _ parent _ <"$stat"; } 2>/dev/null && [ "$parent" = "$main" ] && echo "$pid"
  done
}
finish() {
  ends=yes
  kill -USR1 "$main"
}
stop() {
  finish
  { sleep "$stop_seconds"; kill -TERM "$main"; } >/dev/null 2>&1 &
}
# it has not been given the sockets, and has opened its own, which no one reaches
listens_itself() { grep -q '^ *[0-9]*: 00000000:[0-9A-F]* 00000000:0000 0A ' /proc/net/tcp; }
# who listens has started again since: the sockets that HAProxy has are those of before
is_deaf() { [ "$listener" -nt "$heard" ] || listens_itself; }
touch -r "$directory" "$seen" "$taken"
touch -r "$listener" "$heard" || exit 1
haproxy -x "$listener" -W -db -C "$directory" -f haproxy.cfg &
main=$!
trap stop USR1 TERM INT
trap finish HUP
while kill -0 "$main" 2>/dev/null; do
  # a signal ends the wait, not the sleep
  sleep 1 &
  wait "$!"
  [ -z "$ends" ] || continue
  if is_deaf; then
    echo "HAProxy does not hear those who connect, and starts again"
    kill -TERM "$main"
    wait "$main"
    exit 1
  fi
  [ "$directory" -nt "$seen" ] || continue
  touch -r "$directory" "$seen"
  if haproxy -c -C "$directory" -f haproxy.cfg >/dev/null; then
    # one that was told to end meanwhile would listen again
    [ -z "$ends" ] || continue
    before=$(workers) looks=0
    kill -USR2 "$main" || break
    while [ "$(workers)" = "$before" ] && [ "$((looks += 1))" -le "$LOOKS" ]; do sleep 0.2; done
    # from HAProxy 3.1 on the new one reads them when it has started
    sleep 1
    [ -z "$ends" ] || kill -USR1 "$main"
    if [ "$(workers)" = "$before" ]; then echo "HAProxy has not read what is there"; else touch -r "$seen" "$taken"; fi
  else
    echo "what is there is not taken; what was before goes on"
  fi
done
wait "$main"
