# Unpacks programs, and removes them.
#
#   sh -c "$(cat program.sh)" atelier unpack ARCHIVE DIRECTORY NAME
#   sh -c "$(cat program.sh)" atelier remove DIRECTORY...
#
# unpack puts what is in the archive into DIRECTORY/files, and makes DIRECTORY/NAME a link to the one
# program called NAME in it. The archive is removed. DIRECTORY is there only when all of that is done.
set -eu
export LC_ALL=C
umask 022 # what other users run must not depend on the host's
trap '' PIPE # finish what was begun even when no one listens any more

action=$1
shift

unpack() {
  archive=$1 directory=$2 name=$3
  new=$directory.new
  rm -rf "$new"
  mkdir -p "$new/files"
  if ! said=$(tar -xf "$archive" -C "$new/files" --no-same-owner 2>&1); then
    rm -rf "$new" "$archive"
    echo "the archive cannot be unpacked: $said"
    exit 1
  fi
  found=$(find "$new/files" -name "$name" -type f -perm -u+x)
  if [ -z "$found" ] || [ "$(echo "$found" | wc -l)" != 1 ]; then
    rm -rf "$new" "$archive"
    echo "the archive must have one program called $name; it has ${found:-none}"
    exit 1
  fi
  ln -s "files${found#"$new/files"}" "$new/$name"
  chmod -R a+rX "$new"
  # SELinux lets systemd start only what has the type of programs
  if [ "$(cat /sys/fs/selinux/enforce 2>/dev/null)" = 1 ]; then chcon -R -t bin_t "$new"; fi
  rm -rf "$directory"
  mv "$new" "$directory"
  rm -f "$archive"
}

case $action in
  unpack) unpack "$@" ;;
  remove) rm -rf "$@" ;;
esac
