# Prints what the GPUs of a host are at: sections that begin with @. Changes nothing.
#
#   sh -c "$(cat gpus.sh)" atelier CARD_FIELDS PROCESS_FIELDS
export LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin

with_limit() { if command -v timeout >/dev/null; then timeout 30 "$@"; else "$@"; fi; }

# A process in a container of Docker has the container's id in the name of its cgroup.
container_of() {
  id=$(grep -oE '[0-9a-f]{64}' "/proc/$1/cgroup" 2>/dev/null | head -n 1)
  if [ -n "$id" ]; then docker container inspect --format '{{.Name}}' "$id" 2>/dev/null; fi
}

if ! command -v nvidia-smi >/dev/null; then
  echo "nvidia-smi is not there"
  exit 1
fi
echo '@cards'
with_limit nvidia-smi --query-gpu="$1" --format=csv,noheader,nounits || exit 1
echo '@processes'
with_limit nvidia-smi --query-compute-apps="$2" --format=csv,noheader,nounits |
  while IFS= read -r row; do
    pid=$(echo "$row" | cut -d, -f2 | tr -d ' ')
    echo "$row, $(container_of "$pid")"
  done
