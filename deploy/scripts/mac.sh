# Sets up a Mac that serves.
#
#   sh -c "$(cat mac.sh)" atelier power NAME VALUE...        settings of pmset
#   sh -c "$(cat mac.sh)" atelier limit MIB                  memory that the GPU may have; 0 for macOS' own
#   sh -c "$(cat mac.sh)" atelier daemon LABEL PROPERTY_LIST
#   sh -c "$(cat mac.sh)" atelier remove LABEL
set -eu
trap '' PIPE # finish what was begun even when no one listens any more
daemons=/Library/LaunchDaemons

action=$1
shift
quietly() { "$@" >/dev/null 2>&1; }

unload() {
  quietly launchctl bootout "system/$1" || true
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    if ! quietly launchctl print "system/$1"; then return 0; fi
    sleep 1
  done
  echo "launchd does not let go of $1"
  return 1
}

limit() {
  sysctl "iogpu.wired_limit_mb=$1" >/dev/null
  found=$(sysctl -n iogpu.wired_limit_mb)
  if [ "$found" != "$1" ]; then
    echo "iogpu.wired_limit_mb is $found, not $1"
    return 1
  fi
}

daemon() {
  printf '%s' "$2" >"$daemons/.$1.new"
  chown root:wheel "$daemons/.$1.new"
  chmod 644 "$daemons/.$1.new"
  unload "$1"
  mv "$daemons/.$1.new" "$daemons/$1.plist"
  launchctl enable "system/$1"
  launchctl bootstrap system "$daemons/$1.plist"
}

case $action in
  power) pmset -a "$@" ;;
  limit) limit "$1" ;;
  daemon) daemon "$1" "$2" ;;
  remove)
    unload "$1"
    rm -f "$daemons/$1.plist"
    ;;
esac
