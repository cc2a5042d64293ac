# Receives a file on standard input: after what an earlier, interrupted copy left of it, checked by
# its digest, and only then under its name.
#
#   sh -c "$(cat receive.sh)" atelier begin PATH SIZE
#   sh -c "$(cat receive.sh)" atelier receive PATH SIZE OFFSET SHA256
#
# begin prints how many bytes are there already, or "there" for a whole file. receive reads the file from OFFSET on; it ends with
# 3 if the digest was wrong: then nothing of the file is left.
set -eu
export LC_ALL=C
umask 022 # what containers and other users read must not depend on the host's
trap '' PIPE # keep what arrived even when no one listens any more

action=$1 path=$2 size=$3
part=$path.part

is_mac() { [ "$(uname)" = Darwin ]; }
size_of() { if [ -f "$1" ]; then wc -c <"$1" | tr -d ' '; else echo 0; fi; }
sha256_of() { if is_mac; then shasum -a 256 <"$1"; else sha256sum <"$1"; fi | cut -d ' ' -f 1; }

# what is left of a killed run must not append to it too, so it goes to its place in the file; macOS'
# dd does not count in bytes: what two runs make of a file there has a wrong digest
write() {
  if ! is_mac; then
    dd of="$part" bs=1M seek="$1" oflag=seek_bytes iflag=fullblock conv=notrunc status=none
  elif [ "$(size_of "$part")" = "$1" ]; then
    cat >>"$part"
  fi
}

case $action in
  begin)
    mkdir -p "$(dirname "$path")"
    if [ "$(size_of "$path")" = "$size" ]; then
      echo there
      exit 0
    fi
    if [ "$(size_of "$part")" -gt "$size" ]; then rm -f "$part"; fi
    size_of "$part"
    ;;
  receive)
    offset=$4 sha256=$5
    write "$offset"
    arrived=$(size_of "$part")
    if [ "$arrived" != "$size" ]; then
      echo "$arrived of $size bytes arrived"
      exit 1
    fi
    if [ "$(sha256_of "$part")" != "$sha256" ]; then
      rm -f "$part"
      exit 3
    fi
    chmod 644 "$part"
    mv "$part" "$path"
    ;;
esac
