# Services of systemd, for container.sh: what it does to containers, done to them. Every function is
# given a name, which may end with .next or .previous as those of containers do.
#
#   /etc/atelier/services/NAME/unit          what the unit file says
#   /etc/atelier/services/NAME/environment   its secrets, for root alone
#   /etc/systemd/system/NAME.service         what systemd has read: a copy, because it must be on the
#                                            file system that is there when the host boots
# shellcheck disable=SC2034,SC2154 # container.sh has the others
services=/etc/atelier/services units=/etc/systemd/system

is_service() { [ -f "$services/$1/unit" ]; }

# create_service NAME UNIT_FILE: secrets are read from standard input
create_service() {
  if [ ! -d /run/systemd/system ]; then
    say "systemd does not run on this host, so there can be no services"
    exit 1
  fi
  rm -rf "$services/$1.next"
  (
    umask 077
    mkdir -p "$services/$1.next"
    cat >"$services/$1.next/environment"
    printf '%s' "$2" >"$services/$1.next/unit"
  )
}

# systemd is given what stands in NAME's directory
install_service() {
  cp "$services/$1/unit" "$units/.$1.new"
  chmod 644 "$units/.$1.new"
  mv "$units/.$1.new" "$units/$1.service"
  systemctl daemon-reload
  quietly systemctl enable "$1.service"
}

# NAME.next, or NAME.previous, becomes NAME
take_service() {
  rm -rf "${services:?}/$1"
  mv "$services/$1.$2" "$services/$1"
  install_service "$1"
}

start_service() {
  quietly systemctl reset-failed "$1.service" || true
  systemctl "$2" "$1.service"
}

stop_service() { quietly systemctl disable --now "$1.service" || true; }

remove_service() {
  case $1 in
    *.next) ;;
    # what systemd has is the one that came after it
    *.previous) is_service "${1%.previous}" || uninstall_service "${1%.previous}" ;;
    *) uninstall_service "$1" ;;
  esac
  # last: by this the next run finds what a killed one has not removed
  rm -rf "${services:?}/$1"
}

uninstall_service() {
  stop_service "$1"
  rm -f "$units/$1.service"
  systemctl daemon-reload
  quietly systemctl reset-failed "$1.service" || true
}

set_service_aside() { mv "$services/$1" "$services/$1.previous"; }

service_log() { journalctl --unit "$1.service" --since "@$began" --lines 40 --output cat --no-pager; }

wait_service() {
  deadline=$(($(date +%s) + timeout))
  check=$(sed -n 's/^Health=//p' "$services/$name/unit")
  while :; do
    state=$(systemctl show "$name.service" --property ActiveState | cut -d= -f2)
    count=$(systemctl show "$name.service" --property NRestarts | cut -d= -f2)
    reason="is $state and does not answer, restarted ${count:-0} times"
    if [ "$state" = active ] && quietly sh -c "$check"; then return 0; fi
    if [ "${count:-0}" -ge 3 ]; then return 1; fi
    if [ "$(date +%s)" -ge "$deadline" ]; then return 1; fi
    sleep 0.5
  done
}
