# Keeps new requests away from a unit while it is replaced, and waits for the answers that have begun.
#
#   sh -c "$(cat drain.sh)" atelier away FILE LEASE WAIT ENTRY NAME...
#   sh -c "$(cat drain.sh)" atelier back FILE ENTRY
#   sh -c "$(cat drain.sh)" atelier quiet CONTAINER PORT WAIT     (CONTAINER is "-" without one)
#
# FILE says who gets no requests: until when, in seconds since the epoch, and NAMEs. Routers read it and
# believe it for LEASE seconds, so that nothing is left of a run that is killed. Where there is an entry
# (ENTRY is not "-"), that is told: NAME is backend/server then, and the file tells the next run.
# away waits for the entry's sessions, quiet for connections to PORT of CONTAINER; each for WAIT seconds at
# most. Nothing of this ever fails: without it, requests fail while the unit is replaced, and no more.
set -eu
trap '' PIPE # finish what was begun even when no one listens any more
RUNTIME_PORT=9999 PATIENCE=30

# a command of HAProxy: https://docs.haproxy.org/3.0/management.html#9.3
ask() {
  # shellcheck disable=SC2016 # the shell in the container replaces them
  docker exec "$entry" sh -c '
    if command -v bash >/dev/null; then exec bash -c "exec 3<>/dev/tcp/127.0.0.1/$1; echo \"\$1\" >&3; cat <&3" - "$2"; fi
    echo "$2" | nc 127.0.0.1 "$1"' - "$RUNTIME_PORT" "$1" 2>/dev/null || true
}

# a column of a server: 5 sessions, 18 status
column() { ask "show stat $backend 4 -1" | awk -F, -v b="$backend" -v s="$server" -v c="$1" '$1 == b && $2 == s { print $c }'; }
others() { ask "show stat $backend 4 -1" | awk -F, -v b="$backend" -v s="$server" '$1 == b && $2 != s && $18 ~ /^UP/'; }

# waits for SECONDS at most until a command prints or succeeds
until_true() {
  end=$(($(date +%s) + $1))
  shift
  until "$@"; do
    [ "$(date +%s)" -lt "$end" ] || return 1
    sleep 0.3
  done
}
another_serves() { [ -n "$(others)" ]; }
has_no_session() { case $(column 5) in 0 | '') ;; *) return 1 ;; esac; }
answers_its_check() { case $(column 18) in DRAIN* | UP* | '') ;; *) return 1 ;; esac; }
is_up() { case $(column 18) in UP* | '') ;; *) return 1 ;; esac; }

split() { backend=${1%%/*} server=${1#*/}; }

write_down() {
  mkdir -p "${file%/*}"
  new="${file%/*}/.${file##*/}"
  echo "$(($(date +%s) + lease)) $*" >"$new"
  mv "$new" "$file"
}

away() {
  file=$1 lease=$2 wait=$3 entry=$4
  shift 4
  if [ "$entry" = - ]; then
    # only a router that reads it makes the directory above
    if [ -d "${file%/*/*}" ]; then write_down "$@"; fi
    return 0
  fi
  [ "$(docker container inspect --format '{{.State.Running}}' "$entry" 2>/dev/null)" = true ] || return 0
  split "$1"
  # one that this run puts into another backend is still in the one before: the entry changes after it
  found=$(ask "show stat -1 4 -1" | awk -F, -v s="$server" '$2 == s { b = $1 } END { print b }')
  backend=${found:-$backend}
  until_true "$PATIENCE" another_serves || return 0
  write_down "$backend/$server"
  ask "set server $backend/$server state drain" >/dev/null
  until_true "$wait" has_no_session || true
}

back() {
  file=$1 entry=$2
  [ -f "$file" ] || return 0
  if [ "$entry" != - ]; then
    read -r _ name <"$file"
    split "$name"
    until_true "$PATIENCE" answers_its_check || true
    ask "set server $backend/$server state ready" >/dev/null
    until_true "$PATIENCE" is_up || true
  fi
  rm -f "$file"
}

connections() {
  if [ "$container" = - ]; then
    cat /proc/net/tcp /proc/net/tcp6 2>/dev/null
  else
    docker exec "$container" cat /proc/net/tcp /proc/net/tcp6 2>/dev/null
  fi
}

# netstat of macOS writes 10.0.0.7.8000 for an address and a port; connections from the Mac itself count where
# only they can be, because a link leads there
is_quiet_on_mac() {
  ! netstat -an -p tcp | awk -v port="$1" '
    $4 !~ ("[.]" port "$") { next }
    $6 == "LISTEN" && $4 == "127.0.0.1." port { linked = 1 }
    $6 == "ESTABLISHED" { if ($5 ~ /^(127[.]0[.]0[.]1|::1)[.]/) own = 1; else open = 1 }
    END { exit !(open || (own && linked)) }'
}

# no connection from outside to the port; a container that is not healthy is not waited for
is_quiet() {
  [ "$container" = - ] ||
    [ "$(docker container inspect --format '{{with .State.Health}}{{.Status}}{{end}}' "$container" 2>/dev/null)" = healthy ] || return 0
  open=$(connections) || return 0
  ! echo "$open" | grep -E "^ *[0-9]+: [0-9A-F]+:$port [0-9A-F]+:[0-9A-F]+ 01 " | grep -qvE ' (0100007F|0{16}FFFF00000100007F|0{24}01000000):[0-9A-F]+ 01 '
}

action=$1
shift
case $action in
  away) away "$@" ;;
  back) back "$@" ;;
  quiet)
    container=$1 port=$(printf %04X "$2")
    # for a request that was on its way there when the others were kept away
    if [ "$3" -gt 0 ]; then sleep 1; fi
    if [ "$(uname)" = Darwin ]; then
      until_true "$3" is_quiet_on_mac "$2" || true
    else
      until_true "$3" is_quiet || true
    fi
    ;;
esac
