# The same for daemons of launchd, for look_at_services.sh on macOS, in the words of systemd.
# shellcheck disable=SC2154 # look_at_services.sh has the others
command -v launchctl >/dev/null 2>&1 || exit 0

sha256() { shasum -a 256 2>/dev/null | cut -d ' ' -f 1; }

# age_of PID: seconds, of [[days-]hours:]minutes:seconds
age_of() {
  ps -o etime= -p "$1" 2>/dev/null | tr -d ' ' |
    awk -F '[-:]' '{ s = $NF + 60 * $(NF - 1); if (NF > 2) s += 3600 * $(NF - 2); if (NF > 3) s += 86400 * $1; print s }'
}

# of_daemon FIELD: in what launchd printed of one
of_daemon() { echo "$printed" | awk -v field="$1" '$1 == field && $2 == "=" { print $3; exit }'; }

look_at_daemon() {
  name=$1 directory=$2
  label=${name%.next} label=${label%.previous}
  plist=/Library/LaunchDaemons/$label.plist
  printed=$(launchctl print "system/$label" 2>/dev/null) || printed=
  state=$(of_daemon state) pid=$(of_daemon pid) now=$(date +%s)
  echo "@service $name"
  case $state in
    running) echo ActiveState=active ;;
    '' | not) echo ActiveState=inactive ;;
    *) echo SubState=auto-restart ;;
  esac
  if [ -f "$plist" ] && ! echo "$disabled" | grep -qE "\"$label\" => (disabled|true)"; then echo UnitFileState=enabled; fi
  echo "now=$now"
  if [ -n "$pid" ]; then
    age=$(age_of "$pid")
    echo "started=$((now - ${age:-0}))"
    echo "MemoryCurrent=$(($(ps -A -o pgid= -o rss= | awk -v group="$pid" '$1 == group { n += $2 } END { print n + 0 }') * 1024))"
  fi
  echo "unit_sha256=$(sha256 <"$plist" 2>/dev/null)"
  [ -n "$directory" ] || return 0
  marks=$directory/marks
  echo "marks_sha256=$(sha256 <"$marks")"
  if sh -c "$(sed -n 's/^Health=//p' "$marks")" >/dev/null 2>&1; then
    echo health=yes
  else
    echo health=no
    echo "said=$(tail -n 1 "$(sed -n 's/^Log=//p' "$marks")" 2>/dev/null)"
  fi
  cat "$marks"
}

disabled=$(launchctl print-disabled system 2>/dev/null)
seen=' '
for marks in /etc/atelier/services/*/marks; do
  grep -qxF "Deployment=$deployment" "$marks" 2>/dev/null || continue
  name=${marks%/marks} name=${name##*/}
  seen="$seen$name "
  look_at_daemon "$name" "${marks%/marks}"
done
for name in "$@"; do
  case $seen in *" $name "* | *" $name.previous "*) continue ;; esac
  if [ -f "/etc/atelier/services/$name/marks" ]; then
    look_at_daemon "$name" "/etc/atelier/services/$name"
  elif [ -f "/Library/LaunchDaemons/$name.plist" ]; then
    look_at_daemon "$name" ''
  fi
done
exit 0
