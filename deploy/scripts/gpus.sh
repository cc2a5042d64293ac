# Prints what the GPUs of a host are at: sections that begin with @. Changes nothing.
#
#   sh -c "$(cat gpus.sh)" atelier CARD_FIELDS PROCESS_FIELDS    the fields are nvidia-smi's
export LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin

with_limit() { if command -v timeout >/dev/null; then timeout 30 "$@"; else "$@"; fi; }

# A process in a container of Docker has the container's id in the name of its cgroup.
container_of() {
  id=$(grep -oE '[0-9a-f]{64}' "/proc/$1/cgroup" 2>/dev/null | head -n 1)
  if [ -n "$id" ]; then docker container inspect --format '{{.Name}}' "$id" 2>/dev/null; fi
}

# Its first word, which some set to what they do, as vLLM's workers.
program_of() { tr '\000' '\n' <"/proc/$1/cmdline" 2>/dev/null | head -n 1; }

show_nvidia() {
  echo '@nvidia'
  with_limit nvidia-smi --query-gpu="$1" --format=csv,noheader,nounits || exit 1
  echo '@nvidia_processes'
  with_limit nvidia-smi --query-compute-apps="$2" --format=csv,noheader,nounits |
    while IFS= read -r row; do
      pid=$(echo "$row" | cut -d, -f2 | tr -d ' ')
      echo "$row, $(container_of "$pid")"
    done
}

has_amd() {
  for device in /sys/bus/pci/devices/*; do
    if [ -e "$device/mem_info_vram_total" ]; then return; fi
  done
  return 1
}

# PREFIX NAME VALUE of each file that is there and can be read: a card that sleeps refuses some.
show_files() {
  prefix=$1
  shift
  for file; do
    if value=$(cat "$file" 2>/dev/null) && [ -n "$value" ]; then
      printf '%s\n' "$prefix ${file##*/} $value"
    fi
  done
}

# https://docs.kernel.org/gpu/amdgpu/driver-misc.html, https://docs.kernel.org/gpu/amdgpu/thermal.html
show_amd_cards() {
  echo '@amd'
  show_files driver /sys/module/amdgpu/version
  echo "driver kernel $(uname -r)"
  for device in /sys/bus/pci/devices/*; do
    if [ ! -e "$device/mem_info_vram_total" ]; then continue; fi
    show_files "${device##*/}" "$device/device" "$device/product_name" "$device"/mem_info_vram_* \
      "$device"/mem_info_gtt_* "$device/gpu_busy_percent" "$device"/hwmon/hwmon*/temp*_label \
      "$device"/hwmon/hwmon*/temp*_input "$device"/hwmon/hwmon*/power1_*
  done
}

# The compute driver's ids of cards, and what each process has of them:
# https://github.com/torvalds/linux/blob/master/drivers/gpu/drm/amd/amdkfd/kfd_topology.c
# https://github.com/torvalds/linux/blob/master/drivers/gpu/drm/amd/amdkfd/kfd_process.c
show_kfd() {
  echo '@kfd'
  for node in /sys/class/kfd/kfd/topology/nodes/*; do
    id=$(cat "$node/gpu_id" 2>/dev/null)
    if [ "${id:-0}" != 0 ]; then
      awk -v id="$id" '$1 == "location_id" || $1 == "domain" {print "node", id, $1, $2}' \
        "$node/properties" 2>/dev/null
    fi
  done
  for process in /sys/class/kfd/kfd/proc/*; do
    show_files "process ${process##*/}" "$process"/vram_* "$process"/context_*/vram_*
  done
}

# What processes have by the graphics driver, as with Vulkan; root alone sees those of others:
# https://docs.kernel.org/gpu/drm-usage-stats.html
show_drm() {
  echo '@drm'
  # more files than one command takes as arguments
  find /proc/[0-9]*/fdinfo -type f -exec grep -ls '^drm-driver:[[:space:]]*amdgpu' {} + 2>/dev/null |
    while IFS= read -r file; do
      process=${file#*/proc/}
      awk -v pid="${process%%/*}" '
        $1 == "drm-pdev:" {card = $2}
        $1 == "drm-client-id:" {client = $2}
        $1 == "drm-resident-vram:" || $1 == "drm-memory-vram:" {size = $2; unit = $3}
        END {print pid, card, client, size, unit}' "$file" 2>/dev/null
    done
}

show_amd() {
  show_amd_cards
  users=$(
    show_kfd
    show_drm
  )
  echo "$users"
  echo '@programs'
  echo "$users" | awk '$1 == "process" {print $2} $1 ~ /^[0-9]+$/ {print $1}' | sort -u |
    while IFS= read -r pid; do
      printf '%s\n' "$pid|$(container_of "$pid")|$(program_of "$pid")"
    done
}

# ioreg(8), sysctl(8); powermetrics(1), which knows temperature and power, wants root.
show_apple() {
  echo '@apple'
  echo "system $(sw_vers -productVersion)"
  echo "memory $(sysctl -n hw.memsize)"
  echo "limit $(sysctl -n iogpu.wired_limit_mb 2>/dev/null)"
  ioreg -r -d 1 -w 0 -c IOAccelerator | grep -E '"(model|gpu-core-count|PerformanceStatistics)" = '
  echo '@apple_processes'
  ioreg -r -d 1 -w 0 -c AGXDeviceUserClient |
    grep -E '[+]-o |"(IOUserClientCreator|AppUsage)" = '
}

none=yes
if command -v nvidia-smi >/dev/null; then
  none=
  show_nvidia "$@"
fi
if has_amd; then
  none=
  show_amd
fi
if command -v ioreg >/dev/null; then
  none=
  show_apple
fi
if [ -n "$none" ]; then
  echo "neither nvidia-smi nor a card of amdgpu is there"
  exit 1
fi
true
