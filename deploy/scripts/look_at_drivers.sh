# Prints what the fact Drivers reads: sections that begin with @. Changes nothing, and needs no root.
#
# Files are read rather than tools started; journalctl, which is slow, is asked only where
# something is wrong. In $pci are lines of lspci -Dnn, in the arguments files whose texts are wanted.
export LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin
: "${pci=}"
# https://docs.nvidia.com/deploy/nvidia-smi/; "nvidia-smi --help-query-gpu" explains them
gpu_settings=mig.mode.current,mig.mode.pending,power.limit,power.default_limit,power.min_limit
gpu_settings=$gpu_settings,power.max_limit,clocks.max.sm

section() { echo "@$1"; }

with_limit() { if command -v timeout >/dev/null; then timeout 30 "$@"; else "$@"; fi; }

kernel_log() { journalctl -k -b --no-pager -o cat 2>/dev/null; }

look_at_cards() {
  section pci
  echo "$pci"
  section nvswitches
  for device in /sys/bus/pci/devices/*; do
    case $(cat "$device/class" 2>/dev/null) in 0x0680*) cat "$device/vendor" ;; esac
  done
  section loaded
  for module in nvidia nvidia_uvm nouveau amdgpu; do
    if [ -d /sys/module/$module ]; then echo $module; fi
  done
  section iommu
  cat /sys/kernel/iommu_groups/0/type 2>/dev/null
}

look_at_kernels() {
  section uname
  uname -r
  section time
  date +%H:%M
  section boot_id
  cat /proc/sys/kernel/random/boot_id
  section kernels
  for folder in /lib/modules/*; do
    if [ -e "$folder/modules.builtin" ]; then echo "kernel ${folder##*/}"; fi
    if [ -e "$folder/build/Makefile" ]; then echo "headers ${folder##*/}"; fi
  done
  section boot
  df -Pk /boot 2>/dev/null | awk 'NR == 2 {print $4}'
  section usr
  df -Pk /usr 2>/dev/null | awk 'NR == 2 {print $4}'
  section secure_boot
  variable=/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c
  if [ ! -d /sys/firmware/efi ]; then
    echo BIOS
  elif [ -r $variable ]; then
    od -An -tu1 $variable
  else
    mokutil --sb-state 2>/dev/null
  fi
}

look_at_packages() {
  if command -v dpkg-query >/dev/null; then
    section dpkg
    # shellcheck disable=SC2016 # dpkg-query replaces these names
    dpkg-query -W -f '${db:Status-Abbrev}|${Package}|${Version}\n' \
      '*nvidia*' libcuda1 'cuda-drivers*' nvlsm infiniband-diags dkms 'linux-*' 'amdgpu-dkms*' \
      firmware-amd-graphics 2>/dev/null
  elif command -v rpm >/dev/null; then
    section rpm
    rpm -qa --qf 'ii |%{NAME}|%{VERSION}\n' '*nvidia*' 'kernel-devel*' kernel-headers nvlsm infiniband-diags dkms \
      'amdgpu-dkms*' linux-firmware 2>/dev/null
    rpm -q --qf 'ii |%{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}|%{VERSION}\n' kernel-devel 2>/dev/null |
      grep '^ii '
    section versionlock
    cat /etc/dnf/plugins/versionlock.list 2>/dev/null
  fi
}

has_module_for() {
  for file in "$1"/updates/dkms/nvidia*.ko* "$1"/extra/nvidia*.ko* "$1"/extra/*/nvidia*.ko* \
    "$1"/weak-updates/*/nvidia*.ko* "$1"/kernel/nvidia-*/nvidia.ko* \
    "$1"/kernel/drivers/video/nvidia*.ko*; do
    if [ -e "$file" ]; then return 0; fi
  done
  return 1
}

look_at_nvidia() {
  section nvrm
  cat /proc/driver/nvidia/version 2>/dev/null
  section loaded_version
  cat /sys/module/nvidia/version 2>/dev/null
  section disk
  on_disk=
  # Debian's own packages rename the module
  for name in nvidia nvidia-current nvidia-current-open; do
    if on_disk=$(modinfo -F version $name 2>/dev/null) && [ -n "$on_disk" ]; then
      echo "$on_disk"
      modinfo -F license $name
      break
    fi
  done
  section module_kernels
  for folder in /lib/modules/*; do
    if has_module_for "$folder"; then echo "${folder##*/}"; fi
  done
  section library
  for file in /usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1 \
    /usr/lib/aarch64-linux-gnu/libnvidia-ml.so.1 /usr/lib64/libnvidia-ml.so.1; do
    if [ -e "$file" ]; then
      readlink -f "$file"
      break
    fi
  done
  if command -v nvidia-smi >/dev/null; then ask_nvidia_smi; fi
  if [ -z "$on_disk" ] && [ -d /var/lib/dkms ]; then look_at_dkms 'nvidia*'; fi
}

ask_nvidia_smi() {
  section smi
  said=$(with_limit nvidia-smi -L 2>&1)
  status=$?
  echo "$status"
  if [ "$status" -ne 0 ]; then
    echo "$said"
    section xids
    kernel_log | grep -E 'NVRM: .*(Xid|fallen off)' | tail -n 20
  else
    section gpus
    echo "$said"
    section gpu_settings
    with_limit nvidia-smi "--query-gpu=$gpu_settings" --format=csv,noheader,nounits 2>/dev/null
  fi
}

look_at_dkms() {
  section dkms_errors
  for log in /var/lib/dkms/"$1"/*/build/make.log; do
    if [ -r "$log" ]; then
      grep -E '(^|: )(fatal )?error: |[*]{3} (.*Error [0-9]|Failed )|^Error!' "$log" | head -n 5
      break
    fi
  done
}

look_at_toolkit() {
  section toolkit
  nvidia-ctk --version 2>/dev/null
  section cdi
  grep -hE '^kind:|^ *- name:|^ *name: |libnvidia-ml[.]so[.][0-9]+[.]' \
    /var/run/cdi/nvidia*.y*ml /etc/cdi/nvidia*.y*ml 2>/dev/null
  hook=$(command -v nvidia-container-runtime-hook)
  if [ -n "$hook" ] && [ -e /run/docker.pid ] &&
    [ "$(stat -c %Z "$hook")" -ge "$(stat -c %Y /run/docker.pid)" ]; then
    section toolkit_is_newer
    echo yes
  fi
}

look_at_amd() {
  if [ -e /dev/kfd ]; then
    section kfd
    stat -c %g /dev/kfd /dev/dri/renderD* 2>/dev/null
  fi
  look_at_amdgpu
  section gfx
  grep -h gfx_target_version /sys/class/kfd/kfd/topology/nodes/*/properties 2>/dev/null
  if [ ! -e /dev/kfd ]; then
    section firmware
    kernel_log | grep 'Direct firmware load for amdgpu' | head -n 5
  fi
}

look_at_amdgpu() {
  section amdgpu
  on_disk=$(modinfo -F version amdgpu 2>/dev/null)
  # the kernel's own has no version
  echo "loaded $(cat /sys/module/amdgpu/version 2>/dev/null)"
  echo "disk $on_disk"
  echo "loaded_source $(cat /sys/module/amdgpu/srcversion 2>/dev/null)"
  echo "disk_source $(modinfo -F srcversion amdgpu 2>/dev/null)"
  for file in /lib/modules/"$(uname -r)"/kernel/drivers/gpu/drm/amd/amdgpu/amdgpu.ko*; do
    if [ -e "$file" ]; then echo "own yes"; fi
  done
  for file in /lib/modules/*/updates/dkms/amdgpu.ko* /lib/modules/*/extra/amdgpu.ko*; do
    if [ -e "$file" ]; then echo "$file" | sed 's|/lib/modules/|built |; s|/[eu][^/]*/.*||'; fi
  done
  if [ ! -e /dev/kfd ]; then
    section render_group
    getent group render | cut -d: -f3
  fi
  if [ -z "$on_disk" ] && [ -d /var/lib/dkms/amdgpu ]; then look_at_dkms amdgpu; fi
}

look_at_services() {
  section services
  command -v systemctl >/dev/null || return
  for unit in nvidia-persistenced nvidia-fabricmanager nvidia-cdi-refresh docker atelier-gpus; do
    enabled=$(systemctl is-enabled $unit.service 2>/dev/null)
    case $enabled in
      '' | not-found) ;;
      *) echo "$unit $enabled $(systemctl is-active $unit.service 2>/dev/null)" ;;
    esac
  done
}

look_at_cards
look_at_kernels
look_at_packages
look_at_services
case $pci in *10de:*)
  look_at_nvidia
  look_at_toolkit
  ;;
esac
case $pci in *1002:*) look_at_amd ;; esac
for file; do
  if [ -f "$file" ]; then
    section "file $file"
    base64 -w0 "$file"
    echo
  fi
done
true
