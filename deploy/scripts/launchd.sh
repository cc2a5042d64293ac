# Daemons of launchd, for container.sh on macOS: what systemd.sh does with services of systemd.
#
#   /etc/atelier/services/NAME/unit     the property list
#   /etc/atelier/services/NAME/marks    what is written down of it, a NAME=VALUE a line
#   /Library/LaunchDaemons/NAME.plist   what launchd reads when the Mac starts: a copy
#
# launchctl(1): what print shows is not promised to stay as it is, so no state at all is no refusal.
# shellcheck disable=SC2034,SC2154 # container.sh has the others
units=/Library/LaunchDaemons

mark() { sed -n "s/^$2=//p" "$services/$1/marks"; }

is_loaded() { quietly launchctl print "system/$1"; }

# of_daemon NAME FIELD: the first one is the daemon's own, those of its parts follow
of_daemon() {
  launchctl print "system/$1" 2>/dev/null | awk -v field="$2" '$1 == field && $2 == "=" { print $3; exit }'
}

# create_service NAME PROPERTY_LIST MARKS
create_service() {
  rm -rf "$services/$1.next"
  mkdir -p "$services/$1.next"
  printf '%s' "$2" >"$services/$1.next/unit"
  printf '%s' "$3" >"$services/$1.next/marks"
  user=$(mark "$1.next" User)
  if ! quietly id "$user"; then
    say "there is no account $user on this Mac"
    rm -rf "$services/$1.next"
    exit 1
  fi
}

# its directory and its log belong to its account, as which launchd opens them
install_service() {
  user=$(mark "$1" User) directory=$(mark "$1" Directory) log=$(mark "$1" Log)
  mkdir -p "$directory" "$(dirname "$log")" "$units"
  chmod 700 "$directory"
  touch "$log"
  chmod 640 "$log"
  chown "$user" "$directory" "$log"
  cp "$services/$1/unit" "$units/.$1.new"
  chown root:wheel "$units/.$1.new"
  chmod 644 "$units/.$1.new"
  mv "$units/.$1.new" "$units/$1.plist"
  launchctl enable "system/$1"
}

# launchd takes a while to let go of a daemon, and does not take it again before that
unload() {
  quietly launchctl bootout "system/$1" || true
  for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    if ! is_loaded "$1"; then return 0; fi
    sleep 2
  done
  echo "launchd does not let go of $1" >&2
  return 1
}

start_service() {
  unload "$1" || return 1
  launchctl bootstrap system "$units/$1.plist"
}

stop_service() {
  quietly launchctl disable "system/$1" || true
  unload "$1" || true
}

remove_service() {
  case $1 in
    *.next) ;;
    # what launchd has is the one that came after it
    *.previous) is_service "${1%.previous}" || uninstall_service "$1" ;;
    *) uninstall_service "$1" ;;
  esac
  # last: by this the next run finds what a killed one has not removed
  rm -rf "${services:?}/$1"
}

uninstall_service() {
  log=$(mark "$1" Log 2>/dev/null) || true
  unload "${1%.previous}" || true
  rm -f "$units/${1%.previous}.plist"
  # the one before it writes there, too
  if [ -n "$log" ] && ! is_service "$1.previous"; then rm -f "$log" "$log".*; fi
}

service_log() { tail -n 40 "$(mark "$1" Log)"; }

wait_service() {
  deadline=$(($(date +%s) + timeout))
  check=$(mark "$name" Health)
  while :; do
    state=$(of_daemon "$name" state) runs=$(of_daemon "$name" runs)
    reason="is ${state:-not known to launchd} and does not answer, started ${runs:-0} times"
    case $state in
      running | '') if is_loaded "$name" && quietly sh -c "$check"; then return 0; fi ;;
    esac
    if [ "${runs:-0}" -ge 4 ]; then return 1; fi
    if [ "$(date +%s)" -ge "$deadline" ]; then return 1; fi
    sleep 0.5
  done
}
