# The lock of a deployment on this host: one run at a time changes it.
#
#   sh -c "$(cat lock.sh)" atelier hold DIRECTORY
#   sh -c "$(cat lock.sh)" atelier status DIRECTORY
#   sh -c "$(cat lock.sh)" atelier release DIRECTORY PID
#
# hold reads a line of JSON that says who takes the lock and why, and keeps it until standard input
# ends: so it is free when the run is killed or its connection breaks. A line "done" before that
# says that the run ended by itself. release ends the process that holds it, if it is PID.
#
# Each prints {"lock": "taken", "held" or "free", "now": SECONDS, "record": what DIRECTORY/lock.json
# said before, or null}. That file is
#   {"state": "held", "done", "cut" or "released", "pid", "since", "until", "run": the line of JSON}
# and says "held" without a lock after the host itself went down. The lock is flock(2) on
# DIRECTORY/lock; where there is no flock, DIRECTORY/lock.pid is a link that names the holder.
set -eu
export LC_ALL=C
umask 022
trap '' PIPE HUP
# hardening guides export it from profiles: bash then waits no longer than so many seconds for standard input
unset TMOUT

action=$1 directory=$2
lock=$directory/lock record=$directory/lock.json

now() { date +%s.%N | sed 's/\.[^0-9].*//; s/\.$//'; }
# a host that lost its power may have half of the file, or a file of zeros
recorded() {
  line=$(tr -d '\0' 2>/dev/null <"$record") || line=
  case $line in '{"state":"'*'"run":{'*'}}') printf '%s\n' "$line" ;; *) echo null ;; esac
}
answer() { printf '{"lock":"%s","now":%s,"record":%s}\n' "$1" "$(now)" "$2" || true; }
has_flock() { command -v flock >/dev/null 2>&1; }

# 1: somebody else has it; where there are no locks (NFS without lockd, Lustre without flock) it ends here, as flock says why
try_flock() {
  status=0
  flock "$@" || status=$?
  [ "$status" -le 1 ] || exit "$status"
  return "$status"
}

is_holder() {
  [ -n "$1" ] || return 1
  arguments=$({ tr '\0' ' ' <"/proc/$1/cmdline" || ps -ww -o args= -p "$1"; } 2>/dev/null) || true
  case ${arguments% } in *" atelier hold $directory") return 0 ;; esac
  return 1
}

is_free() {
  if [ ! -e "$lock" ] && [ ! -L "$lock.pid" ]; then return 0; fi
  if has_flock; then
    exec 9<"$lock"
    status=0
    try_flock -s -n 9 || status=$?
    exec 9<&-
    return "$status"
  fi
  ! is_holder "$(readlink "$lock.pid")"
}

take() {
  if has_flock; then
    [ -e "$lock" ] || : >>"$lock"
    # reading is enough, so that it need not belong to this user; but on NFS it takes writing
    if [ -w "$lock" ]; then exec 9<>"$lock"; else exec 9<"$lock"; fi
    # a look at the lock takes it for a moment
    try_flock -n 9 || { sleep 0.2 && try_flock -n 9; }
    return
  fi
  if ln -s "$$" "$lock.pid" 2>/dev/null; then return; fi
  if is_holder "$(readlink "$lock.pid")"; then return 1; fi
  if mv "$lock.pid" "$lock.$$" 2>/dev/null; then rm -f "$lock.$$"; fi
  ln -s "$$" "$lock.pid" 2>/dev/null
}

is_still_there() { # whoever removes a deployment removes the file of its lock, too
  if has_flock; then [ "$lock" -ef /dev/fd/9 ]; fi
}

answer_held() { # the holder writes down who it is a moment after it took the lock
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    case $(recorded) in '{"state":"held"'*) break ;; esac
    sleep 0.1
  done
  answer held "$(recorded)"
}

write() {
  line=$(printf '{"state":"%s","pid":%s,"since":%s,"until":%s,"run":%s}' "$1" "$$" "$since" "$2" "$run")
  if replace 2>/dev/null; then return; fi
  # a full disk: what frees some takes the lock, too, and the room of the record before is enough for this one
  rm -f "$record.$$" "$record"
  if replace; then return; fi
  rm -f "$record.$$"
  [ -w "$directory" ]
}

replace() { printf '%s\n' "$line" >"$record.$$" && mv "$record.$$" "$record"; }

finish() {
  if [ ! -f "$record" ]; then return; fi # the deployment was removed
  if [ "$1$made" = doneyes ] &&
    [ -z "$(find "$directory" -mindepth 1 ! -name lock ! -name 'lock.*')" ]; then
    rm -f "$record" "$lock" "$lock.pid"
    rmdir "$directory"
    return
  fi
  write "$1" "$(now)"
  if ! has_flock; then rm -f "$lock.pid"; fi
}

hold() {
  IFS= read -r run
  for _ in 1 2 3; do
    made=
    if [ ! -d "$directory" ]; then made=yes; fi
    mkdir -p "$directory"
    if ! take; then
      answer_held
      return
    fi
    if is_still_there; then break; fi
  done
  before=$(recorded) since=$(now)
  write held null
  answer taken "$before"
  word=
  IFS= read -r word || true
  if [ "$word" = "done" ]; then finish "done"; else finish "cut"; fi
}

release() {
  pid=$1
  if ! is_free; then
    if ! is_holder "$pid"; then
      echo "process $pid does not hold the lock any more" >&2
      return 1
    fi
    kill "$pid"
    for _ in 1 2 3 4 5 6 7 8 9 10; do
      if is_free; then break; fi
      sleep 0.2
    done
  fi
  case $(recorded) in
    '{"state":"held","pid":'"$pid,"* | '{"state":"cut","pid":'"$pid,"*)
      sed 's/^{"state":"[a-z]*"/{"state":"released"/; s/"until":null/"until":'"$(now)"'/' \
        "$record" >"$record.$$"
      mv "$record.$$" "$record"
      ;;
  esac
  status
}

status() { if is_free; then answer free "$(recorded)"; else answer_held; fi; }

case $action in
  hold) hold ;;
  status) status ;;
  release) release "$3" ;;
esac
