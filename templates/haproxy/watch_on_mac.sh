# Runs HAProxy as a daemon of launchd, and another one takes its place when its files have changed: requests that are
# open go on in the one before. https://docs.haproxy.org/3.0/management.html#4
#
#   sh -c "$(cat watch_on_mac.sh)" watch_on_mac.sh PROGRAM DIRECTORY STATE STOP_SECONDS
#
# STATE/taken is as old as the directory whose files HAProxy goes by; STATE/runtime is where it hands its sockets over.
# It has no master process: HAProxy forks one, and 3.1 and 3.2 had reloads and starts that failed for that on macOS
# (https://github.com/haproxy/haproxy/issues/3045, 3035).
set -u
program=$1 directory=$2 state=$3 stop_seconds=$4
run() {
  "$program" -db -C "$directory" -f haproxy.cfg "$@" &
  main=$!
}
stop() {
  kill -USR1 "$main"
  { sleep "$stop_seconds"; kill -TERM "$main"; } >/dev/null 2>&1 &
}
# a signal ends the wait, not the sleep
pause() {
  sleep 1 &
  wait "$!"
}
touch -r "$directory" "$state/seen" "$state/taken"
run
trap stop USR1 TERM INT
while kill -0 "$main" 2>/dev/null; do
  pause
  [ "$directory" -nt "$state/seen" ] || continue
  touch -r "$directory" "$state/seen"
  if "$program" -c -C "$directory" -f haproxy.cfg >/dev/null; then
    before=$main
    # it tells the one before to end when it listens itself
    run -x "$state/runtime" -sf "$before"
    pause
    if kill -0 "$main" 2>/dev/null; then
      touch -r "$state/seen" "$state/taken"
    else
      main=$before
      echo "HAProxy has not read what is there"
    fi
  else
    echo "what is there is not taken; what was before goes on"
  fi
done
wait "$main"
