# Prints what systemd, or launchd on macOS, has of a deployment: for each service a line "@service NAME", facts as NAME=VALUE,
# and what its unit file says of it. Only root can read the environment files.
#
#   sh -c "$(cat look_at_services.sh)" atelier DEPLOYMENT [NAME...]
#
# NAME are units that the deployment wants: services of others with these names are printed, too.
set -u
export LC_ALL=C

deployment=$1
shift
if [ "$(uname)" = Darwin ]; then
  # it ends here
  # shellcheck disable=SC1091 # read_script puts it here
. look_at_daemons.sh
fi
command -v systemctl >/dev/null 2>&1 || exit 0

marks() { sed '1,/^\[X-Atelier\]$/d' "$1" 2>/dev/null | sed -n '/=/p'; }

healthy() { sh -c "$(marks "$1" | sed -n 's/^Health=//p')" >/dev/null 2>&1; }

look() {
  name=$1 text=$2
  unit=$(echo "$name" | sed 's/\.\(next\|previous\)$//').service
  echo "@service $name"
  TZ=UTC systemctl show "$unit" --property ActiveState,SubState,UnitFileState,ActiveEnterTimestamp,NRestarts,MemoryCurrent
  entered=$(TZ=UTC systemctl show "$unit" --property ActiveEnterTimestamp | cut -d= -f2-)
  echo "started=$([ -z "$entered" ] || date -d "$entered" +%s)"
  echo "now=$(date +%s)"
  echo "unit_sha256=$(sha256sum <"/etc/systemd/system/$unit" 2>/dev/null | cut -d' ' -f1)"
  if [ -n "$text" ]; then
    echo "environment_sha256=$(sha256sum <"${text%/*}/environment" 2>/dev/null | cut -d' ' -f1)"
    if healthy "$text"; then
      echo health=yes
    else
      echo health=no
      echo "said=$(journalctl --unit "$unit" --lines 1 --output cat --no-pager 2>/dev/null | tail -n 1)"
    fi
    marks "$text"
  fi
}

seen=' '
for text in /etc/atelier/services/*/unit; do
  grep -qxF "Deployment=$deployment" "$text" 2>/dev/null || continue
  name=${text%/unit} name=${name##*/}
  seen="$seen$name "
  look "$name" "$text"
done
for name in "$@"; do
  case $seen in *" $name "* | *" $name.previous "*) continue ;; esac
  text=/etc/atelier/services/$name/unit
  if [ -f "$text" ]; then
    look "$name" "$text"
  elif [ -f "/etc/systemd/system/$name.service" ]; then
    look "$name" ''
  fi
done
