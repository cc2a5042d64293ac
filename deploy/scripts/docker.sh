# Installs, configures and starts Docker; each step can be repeated after it was interrupted.
#
#   sh -c "$(cat docker.sh)" atelier install apt|dnf REPOSITORY CODENAME PACKAGE...
#   sh -c "$(cat docker.sh)" atelier configure -|reload|restart
#   sh -c "$(cat docker.sh)" atelier start
#
# configure reads the new daemon.json from standard input; nothing to read means that the one there
# is stays. The daemon's last configuration is kept in $loaded until it has taken over the new one,
# so that the next run knows whether it has.
set -eu
export LC_ALL=C
umask 022 # what containers and other users read must not depend on the host's
trap '' PIPE # finish what was begun even when no one listens any more
PATH=$PATH:/usr/sbin:/sbin
export DEBIAN_FRONTEND=noninteractive

action=$1
shift
folder=/etc/docker config=/etc/docker/daemon.json mark=/etc/docker/installed-by-atelier
loaded=/run/atelier-docker-daemon.json

lock() {
  if command -v flock >/dev/null 2>&1; then
    # a killed run leaves this script running: wait for it
    exec 9>>/run/atelier-docker.lock
    flock --wait 900 9
  fi
}

apt() { apt-get -q -y -o DPkg::Lock::Timeout=300 "$@"; }

show_unless_ok() {
  if output=$("$@" 2>&1 9>&-); then return 0; fi
  echo "$* failed:"
  echo "$output" | tail -n 15 | sed 's/^/    /'
  return 1
}

add_apt_repository() {
  show_unless_ok apt update
  show_unless_ok apt install --no-install-recommends ca-certificates
  mkdir -p /etc/apt/keyrings
  show_unless_ok /usr/lib/apt/apt-helper download-file "$1/gpg" /etc/apt/keyrings/docker.asc
  chmod 644 /etc/apt/keyrings/docker.asc
  printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: stable\nSigned-By: %s\n' \
    "$1" "$2" /etc/apt/keyrings/docker.asc >/etc/apt/sources.list.d/docker.sources
}

add_dnf_repository() {
  # shellcheck disable=SC2016 # dnf replaces these names
  printf '[docker-ce-stable]\nname=Docker CE\nbaseurl=%s/$releasever/$basearch/stable\nenabled=1\ngpgcheck=1\ngpgkey=%s/gpg\n' \
    "$1" "$1" >/etc/yum.repos.d/docker-ce.repo
}

install_with_apt() {
  # what an interrupted run left unpacked
  show_unless_ok dpkg --configure -a
  if [ -n "$repository" ]; then add_apt_repository "$repository" "$codename"; fi
  show_unless_ok apt update
  # newer releases have the client in a package of its own
  if apt-cache show docker-cli >/dev/null 2>&1 && [ -z "$repository" ]; then set -- "$@" docker-cli; fi
  # with AppArmor in the kernel, no container starts without its tools
  if [ -d /sys/kernel/security/apparmor ]; then set -- "$@" apparmor; fi
  show_unless_ok apt install --no-install-recommends "$@"
}

install_with_dnf() {
  if [ -n "$repository" ]; then add_dnf_repository "$repository"; fi
  show_unless_ok dnf install -q -y "$@"
}

fail_with_journal() {
  echo "$1; its last lines:"
  journalctl -u docker.service -n 15 --no-pager -o cat 2>&1 | sed 's/^/    /' || true
  exit 1
}

answers() {
  for _ in $(seq 60); do
    if docker version >/dev/null 2>&1; then return 0; fi
    sleep 0.5
  done
  return 1
}

remember_loaded() { if [ -f "$config" ]; then cp "$config" "$loaded"; else echo '{}' >"$loaded"; fi; }

refuse_invalid() {
  if dockerd --help 2>&1 | grep -q -e --validate &&
    ! output=$(dockerd --validate --config-file="$1" 2>&1); then
    echo "Docker does not take the new $config: $output"
    rm -f "$1"
    exit 1
  fi
}

configure() {
  mkdir -p "$folder"
  cat >"$config.new"
  if [ -s "$config.new" ]; then
    if command -v dockerd >/dev/null 2>&1; then refuse_invalid "$config.new"; fi
    # shellcheck disable=SC3013 # the shells of Debian, RHEL and busybox have -nt
    if [ "$1" != - ] && { [ ! -f "$loaded" ] || [ /run/docker.pid -nt "$loaded" ]; }; then
      remember_loaded
    fi
    rm -f "$config.previous"
    if [ -f "$config" ]; then cp -p "$config" "$config.previous"; fi
    mv "$config.new" "$config"
  fi
  rm -f "$config.new"
  case $1 in
    reload) show_unless_ok systemctl reload docker.service ;;
    restart) restart ;;
  esac
  if [ "$1" != - ]; then remember_loaded; fi
  rm -f "$config.previous"
}

restart() {
  # containers outlive the restart if the daemon already knows that they should
  systemctl reload docker.service >/dev/null 2>&1 || true
  sleep 1
  if systemctl restart docker.service && answers; then return; fi
  if [ -f "$config.previous" ]; then
    mv "$config.previous" "$config"
    systemctl reset-failed docker.service || true
    systemctl restart docker.service || true
    remember_loaded
    fail_with_journal "Docker does not start with the new $config; the one before is back"
  fi
  fail_with_journal "Docker does not start"
}

lock
case $action in
  install)
    manager=$1 repository=$2 codename=$3
    shift 3
    mkdir -p "$folder"
    echo "$*" >"$mark"
    "install_with_$manager" "$@"
    ;;
  configure) configure "$1" ;;
  start)
    show_unless_ok systemctl enable docker.service
    systemctl reset-failed docker.service >/dev/null 2>&1 || true
    systemctl start docker.service >/dev/null 2>&1 || fail_with_journal "Docker does not start"
    answers || fail_with_journal "Docker does not answer"
    remember_loaded
    ;;
esac
