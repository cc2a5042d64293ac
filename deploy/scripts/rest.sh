# Stops what a deployment runs on a host for a while, and waits until the host can run it again.
#
#   sh -c "$(cat rest.sh)" atelier stop SECONDS NAME...    one after the other; each has SECONDS to end
#   sh -c "$(cat rest.sh)" atelier up SECONDS              Docker answers, if the host has it
set -eu
trap '' PIPE # finish what was begun even when no one listens any more

action=$1 seconds=$2
shift 2

stop() {
  if [ -f "/etc/atelier/services/$1/unit" ]; then
    systemctl stop "$1.service"
  elif docker container inspect "$1" >/dev/null 2>&1; then
    docker container stop --time "$seconds" "$1" >/dev/null
  fi
}

up() {
  command -v docker >/dev/null 2>&1 || return 0
  end=$(($(date +%s) + seconds))
  until said=$(docker version --format '{{.Server.Version}}' 2>&1); do
    if [ "$(date +%s)" -ge "$end" ]; then
      echo "Docker does not answer: $said"
      return 1
    fi
    sleep 0.5
  done
}

case $action in
  stop) for name; do stop "$name"; done ;;
  up) up ;;
esac
