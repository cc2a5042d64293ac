# Brings about the driver of GPUs; each step can be repeated after it was interrupted.
#
#   sh -c "$(cat driver.sh)" atelier key URL FINGERPRINT FILE
#   sh -c "$(cat driver.sh)" atelier files PATH...        a line of base64 for each on standard input
#   sh -c "$(cat driver.sh)" atelier install apt|dnf PIN|- VERSION|- PACKAGE...
#   sh -c "$(cat driver.sh)" atelier hold apt|dnf PACKAGE...
#   sh -c "$(cat driver.sh)" atelier build [amdgpu]
#   sh -c "$(cat driver.sh)" atelier load [amdgpu]
#   sh -c "$(cat driver.sh)" atelier units start|enable UNIT...
#   sh -c "$(cat driver.sh)" atelier cdi
#   sh -c "$(cat driver.sh)" atelier docker
#   sh -c "$(cat driver.sh)" atelier gpus apply|forget
#   sh -c "$(cat driver.sh)" atelier gpus undo SETTING...    see gpu_settings.sh
#
# PIN is a package that keeps a branch, or "module NAME:STREAM"; a PACKAGE that ends with - is removed
# in the same transaction.
set -eu
export LC_ALL=C
umask 022
trap '' PIPE HUP # finish what was begun even when no one listens any more
PATH=$PATH:/usr/sbin:/sbin
export DEBIAN_FRONTEND=noninteractive
tick_seconds=15

action=$1
shift

lock() {
  if command -v flock >/dev/null 2>&1; then
    # a killed run leaves this script running: wait for it
    exec 9>>/run/atelier-driver.lock
    flock --wait 3600 9
  fi
}

# Who has the lock of dpkg: its own way of locking shows in /proc/locks alone.
lock_holder() {
  inode=$(stat -c %i /var/lib/dpkg/lock-frontend 2>/dev/null) || return 0
  pid=$(awk -v end=":$inode" 'index($6, end) && $2 == "POSIX" {print $5; exit}' /proc/locks)
  if [ -n "$pid" ] && [ "$pid" -gt 0 ] && ! is_ours "$pid"; then
    echo "$(cat "/proc/$pid/comm" 2>/dev/null) (process $pid)"
  fi
}

is_ours() {
  process=$1
  while [ "$process" -gt 1 ]; do
    if [ "$process" = $$ ]; then return 0; fi
    process=$(awk '/^PPid:/ {print $2}' "/proc/$process/status" 2>/dev/null) || return 1
    if [ -z "$process" ]; then return 1; fi
  done
  return 1
}

tell() {
  seconds=0
  # it outlives the step, whose output must end with the step
  while sleep $tick_seconds >/dev/null 2>&1; do
    seconds=$((seconds + tick_seconds))
    holder=$(lock_holder)
    if [ -n "$holder" ]; then
      echo "waiting for $holder, which has the lock of the package manager: $seconds s"
    else
      echo "$1: $seconds s"
    fi
  done
}

telling() {
  tell "$1" 9>&- &
  ticker=$!
  trap 'kill $ticker 2>/dev/null || true' EXIT
}

apt() { apt-get -q -y -o DPkg::Lock::Timeout=1800 "$@"; }

show_unless_ok() {
  if output=$("$@" 2>&1 9>&-); then return 0; fi
  echo "$* failed:"
  echo "$output" | tail -n 20 | sed 's/^/    /'
  return 1
}

download() {
  if [ -x /usr/lib/apt/apt-helper ]; then
    show_unless_ok /usr/lib/apt/apt-helper download-file "$1" "$2"
  else
    show_unless_ok curl -fsSL -o "$2" "$1"
  fi
}

add_key() {
  url=$1 expected=$2 file=$3
  mkdir -p "${file%/*}"
  if ! command -v gpg >/dev/null 2>&1; then
    show_unless_ok apt update
    show_unless_ok apt install --no-install-recommends ca-certificates gpg
  fi
  rm -f "$file.new"
  download "$url" "$file.new"
  found=$(gpg --batch --with-colons --show-keys "$file.new" 2>/dev/null |
    awk -F: '$1 == "pub" {key = 1} $1 == "fpr" && key {print $10; key = 0}' | sort -u)
  if [ "$found" != "$expected" ]; then
    echo "$url has the key ${found:-of no kind that gpg knows}, not $expected"
    rm -f "$file.new"
    return 1
  fi
  chmod 644 "$file.new"
  mv "$file.new" "$file"
}

write_files() {
  reload=
  for path; do
    IFS= read -r text
    mkdir -p "${path%/*}"
    case $path in
      /etc/modprobe.d/*)
        # the initial file system comes first: the file in its place says that it has been made
        echo "$text" | base64 -d >"${path%.conf}-new.conf"
        rebuild_initramfs
        mv "${path%.conf}-new.conf" "$path"
        ;;
      *)
        echo "$text" | base64 -d >"$path.new"
        mv "$path.new" "$path"
        ;;
    esac
    case $path in /etc/systemd/*) reload=yes ;; esac
  done
  if [ -n "$reload" ]; then show_unless_ok systemctl daemon-reload; fi
}

rebuild_initramfs() {
  if command -v update-initramfs >/dev/null 2>&1; then
    show_unless_ok update-initramfs -u
  elif command -v dracut >/dev/null 2>&1; then
    show_unless_ok dracut -f
  fi
}

# apt goes on with an old index where a key does not fit.
update_apt() {
  output=$(apt update 2>&1 9>&-) || {
    echo "apt-get update failed:"
    echo "$output" | tail -n 20 | sed 's/^/    /'
    return 1
  }
  wrong=$(signed_otherwise "$output")
  if [ -n "$wrong" ]; then
    echo "$output" | grep 'GPG error' | sed 's/^/    /'
    echo "$wrong is not signed with the key that is pinned"
    return 1
  fi
}

signed_otherwise() {
  sed -n 's|/*$||; s/^URIs: //p' /etc/apt/sources.list.d/atelier-nvidia*.sources \
    /etc/apt/sources.list.d/atelier-amd.sources 2>/dev/null |
    while read -r url; do
      case $1 in *"GPG error: $url"*) echo "$url" ;; esac
    done
}

install_with_apt() {
  # what an interrupted run left unpacked; what cannot be configured is installed anew below
  apt_repair
  update_apt
  if [ "$pin" != - ]; then
    show_unless_ok apt install --no-install-recommends --allow-downgrades "$pin"
  fi
  if ! show_unless_ok apt install --no-install-recommends --allow-downgrades \
    --allow-change-held-packages "$@"; then
    show_failed_build
    remove_half_installed
    return 1
  fi
}

apt_repair() { dpkg --configure -a >/dev/null 2>&1 9>&- || true; }

# What the compiler and make say, and not the flags that they were called with.
build_error='(^|: )(fatal )?error: |[*]{3} (.*Error [0-9]|Failed )|^Error!'

show_failed_build() {
  for log in /var/lib/dkms/*/*/build/make.log; do
    if [ -r "$log" ] && grep -qE "$build_error" "$log"; then
      echo "the module could not be built; in $log:"
      grep -E "$build_error" "$log" | head -n 5 | sed 's/^/    /'
    fi
  done
}

# A package that cannot be configured makes every later run of apt fail, whatever it is for.
remove_half_installed() {
  # shellcheck disable=SC2016 # dpkg-query replaces these names
  half=$(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' '*nvidia*' 'amdgpu-dkms*' 2>/dev/null |
    awk '$1 ~ /^.[UFHWt]/ {print $2}')
  if [ -z "$half" ]; then return; fi
  # shellcheck disable=SC2086 # a list of names
  if apt remove --allow-change-held-packages $half >/dev/null 2>&1 9>&-; then
    echo "removed what was half installed, so that apt works:"
    echo "$half" | sed 's|^|    |'
  fi
}

install_with_dnf() {
  for package; do
    case $package in *-dkms | *-dkms-*) need_dkms ;; esac
  done
  # dnf believes what it read up to two days ago
  show_unless_ok dnf -q makecache --refresh --repo 'atelier-*'
  case $pin in
    "module "*)
      show_unless_ok dnf -q -y module reset "$(echo "${pin#module }" | cut -d: -f1)"
      show_unless_ok dnf -q -y module enable "${pin#module }"
      ;;
  esac
  need_versionlock
  # names may end with -VERSION
  locked=$(of_the_driver "$@")
  change_locks delete "$locked"
  if ! show_unless_ok dnf_exchange "$@"; then
    change_locks add "$locked"
    return 1
  fi
}

# Install packages, and remove those whose names end with -, in one transaction.
dnf_exchange() {
  leaving=
  for package; do
    shift
    case $package in
      *-) leaving="$leaving ${package%-}" ;;
      *) set -- "$@" "$package" ;;
    esac
  done
  if [ -z "$leaving" ]; then
    dnf -q -y install --allowerasing "$@"
  else
    printf '%s\n' "remove$leaving" "install $*" run | dnf -q -y --allowerasing shell
    # it ends with 0 whatever became of the transaction
    for package in $leaving; do
      if rpm -q "$package" >/dev/null 2>&1; then return 1; fi
    done
  fi
}

# The packages given as they are installed, and the driver's libraries in the same version: all of
# them are locked, or an upgrade of the host would fail at the others.
of_the_driver() {
  rpm -qa --qf '%{NAME} %{VERSION} %{EPOCHNUM}:%{VERSION}-%{RELEASE}\n' | awk -v given=" $* " '
    {version[$1] = $2; exact[$1] = $1 "-" $3}
    END {
      for (name in version)
        if (index(given, " " name " ") || index(given, " " name "-")) wanted[version[name]]
      for (name in version)
        if (version[name] in wanted && name ~ /nvidia|^libnv|^libcuda|^amdgpu/)
          print name, exact[name]
    }'
}

change_locks() {
  column=2
  if [ "$1" = delete ]; then column=1; fi
  packages=$(echo "$2" | awk -v column=$column 'NF {print $column}')
  # shellcheck disable=SC2086 # a list of names
  if [ -n "$packages" ]; then show_unless_ok dnf -q versionlock "$1" $packages; fi
}

need_dkms() {
  if dnf -q list dkms >/dev/null 2>&1; then return; fi
  if ! show_unless_ok dnf -q -y install epel-release; then
    echo "dkms comes from EPEL: https://docs.fedoraproject.org/en-US/epel/getting-started/"
    return 1
  fi
  if command -v crb >/dev/null 2>&1; then show_unless_ok crb enable; fi
}

hold_with_apt() { show_unless_ok apt-mark hold "$@"; }

need_versionlock() {
  if dnf versionlock list >/dev/null 2>&1; then return; fi
  show_unless_ok dnf -q -y install 'dnf-command(versionlock)'
}

hold_with_dnf() {
  need_versionlock
  # without the version that is installed, dnf would lock every one that it knows
  found=$(of_the_driver "$@")
  change_locks delete "$found"
  change_locks add "$found"
}

# A kernel that was installed without headers, or whose build failed, has no module.
build() {
  kernel=$(uname -r)
  if ! show_unless_ok dkms autoinstall -k "$kernel" || ! modinfo -k "$kernel" "$1" >/dev/null 2>&1; then
    echo "there is no module $1 for kernel $kernel"
    show_failed_build
    return 1
  fi
}

load() {
  if ! output=$(modprobe nvidia 2>&1 9>&-) || [ ! -d /sys/module/nvidia ]; then
    echo "the module nvidia cannot be loaded: $output"
    dmesg 2>/dev/null | grep -iE 'nvidia|NVRM|nouveau' | tail -n 10 | sed 's/^/    /'
    return 1
  fi
  modprobe nvidia_uvm >/dev/null 2>&1 9>&- || true
  show_unless_ok nvidia-smi -L
}

load_amdgpu() {
  if ! output=$(modprobe amdgpu 2>&1 9>&-) || [ ! -d /sys/module/amdgpu ]; then
    echo "the module amdgpu cannot be loaded: $output"
  else
    # the module makes it when it has started the cards
    for _ in 1 2 3 4 5 6 7 8 9 10; do
      if [ -e /dev/kfd ]; then return; fi
      sleep 1
    done
    echo "the module amdgpu is loaded, and there is no /dev/kfd"
  fi
  dmesg 2>/dev/null | grep -iE 'amdgpu|kfd' | tail -n 10 | sed 's/^/    /'
  return 1
}

set_units() {
  how=$1
  shift
  for unit; do
    # units without [Install], such as Ubuntu's nvidia-persistenced, cannot be enabled
    systemctl enable "$unit.service" >/dev/null 2>&1 || true
    if [ "$how" = start ] && ! show_unless_ok systemctl restart "$unit.service"; then
      journalctl -u "$unit.service" -n 10 --no-pager -o cat 2>&1 | sed 's/^/    /'
      return 1
    fi
  done
}

# The toolkit's own service makes missing nodes in /dev, too, and knows where the host wants the file;
# it does nothing where it does not know the module by name.
write_specification() {
  specification=/var/run/cdi/nvidia.yaml
  mark=$(mktemp)
  systemctl reset-failed nvidia-cdi-refresh.service >/dev/null 2>&1 || true
  systemctl restart nvidia-cdi-refresh.service >/dev/null 2>&1 || true
  # shellcheck disable=SC3013 # the shells of Debian and RHEL have -nt
  if [ ! "$specification" -nt "$mark" ]; then
    show_unless_ok nvidia-ctk cdi generate --output="$specification"
  fi
  rm -f "$mark"
}

gpu_settings=/etc/atelier/gpus
gpu_script=/usr/local/lib/atelier/gpu_settings.sh
gpu_unit=atelier-gpus

set_up_gpus() {
  how=$1
  shift
  case $how in
    apply)
      show_unless_ok systemctl daemon-reload
      set_units start $gpu_unit
      # where a mode waits for a restart, it says so
      journalctl -u $gpu_unit.service -b -n 5 --no-pager -o cat 2>/dev/null | grep '^GPU ' || true
      ;;
    undo) show_unless_ok sh $gpu_script undo "$@" ;;
    forget)
      systemctl disable $gpu_unit.service >/dev/null 2>&1 || true
      rm -f $gpu_settings $gpu_script /etc/systemd/system/$gpu_unit.service
      show_unless_ok systemctl daemon-reload
      return 0
      ;;
  esac
  refresh_cdi
}

# nothing notices by itself that a GPU was divided
refresh_cdi() {
  if ! command -v nvidia-ctk >/dev/null 2>&1; then
    return 0
  fi
  if [ -e /var/run/cdi/nvidia.yaml ] || systemctl cat nvidia-cdi-refresh.service >/dev/null 2>&1; then
    write_specification
  fi
  if [ -e /etc/cdi/nvidia.yaml ]; then
    show_unless_ok nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml
  fi
}

restart_docker() {
  # containers outlive the restart if the daemon already knows that they should
  systemctl reload docker.service >/dev/null 2>&1 || true
  sleep 1
  show_unless_ok systemctl restart docker.service
}

lock
case $action in
  key) add_key "$@" ;;
  files) write_files "$@" ;;
  install)
    manager=$1 pin=$2
    shift 3
    telling "installing $1 and $(($# - 1)) more"
    "install_with_$manager" "$@"
    ;;
  hold)
    manager=$1
    shift
    "hold_with_$manager" "$@"
    ;;
  build)
    telling "building the module"
    build "${1:-nvidia}"
    ;;
  load) if [ "${1:-nvidia}" = amdgpu ]; then load_amdgpu; else load; fi ;;
  units) set_units "$@" ;;
  cdi) write_specification ;;
  docker) restart_docker ;;
  gpus) set_up_gpus "$@" ;;
esac
