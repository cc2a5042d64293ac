# Writes down which keys engines may have; routers read the file at each request.
#
#   sh -c "$(cat engine_keys.sh)" atelier first|only FILE
#
# The key on standard input becomes the first one: routers send that, and where an engine refuses it the
# next ones. With "only", the others go. No key is an argument of a program.
set -eu
trap '' PIPE # finish what was begun even when no one listens any more
action=$1 file=$2 directory=${2%/*}

# readable by the user in the container, who sees the inner directory; by no one else on the host
umask 077
mkdir -p "${directory%/*}"
chmod 700 "${directory%/*}"
umask 022
mkdir -p "$directory"

IFS= read -r key
{
  printf '%s\n' "$key"
  if [ "$action" = first ] && [ -f "$file" ]; then
    while IFS= read -r other; do
      [ "$other" = "$key" ] || printf '%s\n' "$other"
    done <"$file"
  fi
} >"$file.new"
mv "$file.new" "$file"
