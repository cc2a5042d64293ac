# Keeps the logs of daemons on macOS small: what is in one that is large goes into a compressed file, and
# it is emptied. Lines that are written in between are lost.
#
#   sh -c "$(cat rotate_logs.sh)" atelier DIRECTORY
set -u
limit=52428800

for log in "$1"/*.log; do
  [ -f "$log" ] || continue
  [ "$(wc -c <"$log")" -gt "$limit" ] || continue
  for n in 4 3 2 1; do
    if [ -f "$log.$n.gz" ]; then mv -f "$log.$n.gz" "$log.$((n + 1)).gz"; fi
  done
  if gzip -c "$log" >"$log.1.gz"; then
    chmod 640 "$log.1.gz"
    : >"$log"
  fi
done
