# Brings NVIDIA's GPUs into the state that a file says, and takes settings back.
#
#   sh gpu_settings.sh apply FILE            at every start of the host, and when the file has changed
#   sh gpu_settings.sh undo mig:GPU|power:GPU:WATTS|clocks:GPU...
#
# A line of FILE is "mig GPU PROFILE:START..." (instances as the driver is to number them), "power GPU WATTS"
# or "clocks GPU LOWEST,HIGHEST"; others are left out. What is as it should be is not touched.
# https://docs.nvidia.com/datacenter/tesla/mig-user-guide/, https://docs.nvidia.com/deploy/nvidia-smi/
set -eu
export LC_ALL=C

say() { echo "$@" || true; }

# what follows an || is not ended by set -e: each command that may fail says so itself

# profiles of the instances of a GPU, as the driver numbers them
layout() {
  nvidia-smi -L | awk -v gpu="GPU $1:" '
    /^GPU / { own = index($0, gpu) == 1 }
    own && $1 == "MIG" { text = text sep $2; sep = " " }
    END { print text }'
}

mode() { nvidia-smi -i "$1" --query-gpu=mig.mode.current --format=csv,noheader | tr -d ' '; }

run() {
  if output=$(nvidia-smi "$@" 2>&1); then return 0; fi
  say "nvidia-smi $* failed:"
  say "$output" | sed 's/^/    /'
  return 1
}

# the mode changes only while no program has the GPU open
stopped=
let_go() {
  command -v systemctl >/dev/null 2>&1 || return 0
  for unit in nvidia-persistenced nvidia-dcgm dcgm nvsm; do
    if systemctl is-active -q $unit.service; then
      systemctl stop $unit.service
      stopped="$stopped $unit"
    fi
  done
}
start_again() {
  for unit in $stopped; do systemctl start "$unit.service" || true; done
  stopped=
}
trap start_again EXIT

# set_mode GPU 1|0 Enabled|Disabled: whether it has it now; "pending" says that it will after a restart
set_mode() {
  pending=
  [ "$(mode "$1")" != "$3" ] || return 0
  let_go
  run -i "$1" -mig "$2" || return 1
  if [ "$(mode "$1")" != "$3" ]; then nvidia-smi -i "$1" --gpu-reset >/dev/null 2>&1 || true; fi
  start_again
  [ "$(mode "$1")" != "$3" ] || return 0
  # what asks for the restart reads the mode that is pending
  say "GPU $1: its MIG mode changes with the next start of the host"
  pending=yes
}

destroy() {
  # both fail where there is nothing to destroy
  nvidia-smi mig -i "$1" -dci >/dev/null 2>&1 || true
  nvidia-smi mig -i "$1" -dgi >/dev/null 2>&1 || true
  left=$(layout "$1")
  if [ -n "$left" ]; then
    say "GPU $1 still has the instances $left: a program uses them (nvidia-smi lists it)"
    return 1
  fi
}

divide() {
  gpu=$1
  shift
  wanted=
  for instance; do wanted="$wanted ${instance%:*}"; done
  wanted=${wanted# }
  if [ "$(mode "$gpu")" = Enabled ] && [ "$(layout "$gpu")" = "$wanted" ]; then return 0; fi
  set_mode "$gpu" 1 Enabled || return 1
  [ -z "$pending" ] || return 0
  destroy "$gpu" || return 1
  run mig -i "$gpu" -cgi "$(echo "$*" | tr ' ' ,)" -C || return 1
  found=$(layout "$gpu")
  if [ "$found" != "$wanted" ]; then
    say "GPU $gpu: the driver numbers the instances $found, not $wanted"
    return 1
  fi
}

make_whole() {
  destroy "$1" || return 1
  set_mode "$1" 0 Disabled
}

limit() {
  # else the limit is lost when the last program closes the GPU
  nvidia-smi -i "$1" -pm 1 >/dev/null 2>&1 || true
  run -i "$1" -pl "$2"
}

apply() {
  failed=0
  while read -r what gpu rest; do
    # shellcheck disable=SC2086 # a list of instances
    case $what in
      mig) divide "$gpu" $rest || failed=1 ;;
      power) limit "$gpu" "$rest" || failed=1 ;;
      clocks) run -i "$gpu" -lgc "$rest" || failed=1 ;;
    esac
  done <"$1"
  return $failed
}

undo() {
  for each; do
    gpu=${each#*:} value=${each##*:} gpu=${gpu%%:*}
    case $each in
      mig:*) make_whole "$gpu" ;;
      power:*) limit "$gpu" "$value" ;;
      clocks:*) run -i "$gpu" -rgc ;;
    esac
  done
}

action=$1
shift
case $action in
  apply) apply "$@" ;;
  undo) undo "$@" ;;
esac
