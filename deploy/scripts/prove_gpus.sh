# Proves that a container of an engine's image is given the cards that the host has: its answer must be
# what is expected. What was proven is written down, so that it is not asked again.
#
#   sh -c "$(cat prove_gpus.sh)" atelier RECORD NAME IMAGE KEY EXPECTED FIELDS ARGUMENT...
#
# FIELDS are what nvidia-smi is asked for, empty for cards of AMD; ARGUMENTs give the container its devices.
set -eu
export LC_ALL=C
# shellcheck disable=SC1091 # read_script puts it here
. docker_client.sh

record=$1 name=$2 image=$3 key=$4 expected=$5 fields=$6
shift 6
limit=
if command -v timeout >/dev/null 2>&1; then limit='timeout 300'; fi

# shellcheck disable=SC2016 # this runs in the container
ask_amd='
rocminfo=$(command -v rocminfo || ls /opt/rocm/bin/rocminfo 2>/dev/null)
if [ -n "$rocminfo" ]; then
  "$rocminfo" | sed -n "s/^  Name: *\(gfx[0-9a-f]*\) *$/\1/p"
else
  for device in /dev/kfd /dev/dri/renderD*; do true <>"$device" || exit 1; done
  sed -n "s/^gfx_target_version //p" /sys/class/kfd/kfd/topology/nodes/*/properties | while read -r n; do
    [ "$n" = 0 ] || printf "gfx%d%x%x\n" $((n / 10000)) $((n / 100 % 100)) $((n % 100))
  done
fi'

run() {
  if [ -n "$fields" ]; then
    # an image that does not say what it wants is given no nvidia-smi by the hook
    $limit docker run --rm --name "$name" --network none \
      --env NVIDIA_DRIVER_CAPABILITIES=compute,utility "$@" --entrypoint nvidia-smi "$image" \
      --query-gpu="$fields" --format=csv,noheader,nounits
  else
    $limit docker run --rm --name "$name" --network none "$@" --entrypoint sh "$image" -c "$ask_amd"
  fi
}

indented() { printf '%s\n' "$1" | sed 's/^/    /'; }

docker container rm --force "$name" >/dev/null 2>&1 || true
status=0
# Docker's warnings are no answer
errors=$(mktemp)
found=$(run "$@" 2>"$errors") || status=$?
found=$(printf '%s\n' "$found" | sort)
docker container rm --force "$name" >/dev/null 2>&1 || true
said=$(grep -v -e '^$' -e "Run 'docker run --help'" "$errors" || true)
rm -f "$errors"
if [ "$status" -ne 0 ] || [ "$found" != "$expected" ]; then
  echo "a container of $image does not see the cards as the host does"
  echo "found:"
  indented "${found:-nothing}"
  if [ -n "$said" ]; then indented "$said"; fi
  echo "expected:"
  indented "$expected"
  exit 1
fi
{
  if [ -f "$record" ]; then awk -v image="$image" '$1 != image' "$record"; fi
  echo "$image $key"
} >"$record.new"
mv "$record.new" "$record"
