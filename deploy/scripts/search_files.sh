# Looks for a word and for secrets in files that were changed lately, on a host or in a container.
#
#   sh -c "$(cat search_files.sh)" atelier WORD MINUTES KIB PLACE...
#
# PLACE is a directory, or !PATH of what is left out. Secrets are on standard input, one a line, up
# to a line ".": everybody may see arguments. Nothing of a file is printed but three digits:
#
#   mark NNN PATH     WORD stands there, with these digits after it
#   secret N PATH     the secret of line N, from 0, stands there
#   large PATH        it has more than KIB, and was not read
#   unreadable PATH
#   files N           so many were read
set -u
word=$1 minutes=$2 kib=$3
shift 3
secrets='' newline='
'
while IFS= read -r line && [ "$line" != . ]; do secrets="$secrets$line$newline"; done

is_left_out() {
  path=$1
  shift
  for place in "$@"; do
    case $place in '!'*) case $path in "${place#!}"*) return 0 ;; esac ;; esac
  done
  return 1
}

# the shell's own printf is no process, and so has no arguments
has_secret() { printf '%s\n' "$1" | grep -q -a -F -f - -- "$2"; }

look() {
  for digits in $(grep -a -o -e "${word}[0-9a-f][0-9a-f][0-9a-f]" -- "$1" | sort -u | head -n 32); do
    echo "mark ${digits#"$word"} $1"
  done
  if [ -n "$secrets" ] && has_secret "${secrets%"$newline"}" "$1"; then
    number=0
    printf '%s' "$secrets" | while IFS= read -r secret; do
      if has_secret "$secret" "$1"; then echo "secret $number $1"; fi
      number=$((number + 1))
    done
  fi
}

for place in "$@"; do
  case $place in '!'*) continue ;; esac
  if [ -d "$place" ]; then find "$place" -xdev -type f -mmin "-$minutes" 2>/dev/null; fi
done | {
  count=0
  while IFS= read -r path; do
    if is_left_out "$path" "$@"; then continue; fi
    case $path in *"$word"*) echo "mark ${path#*"$word"} $path" ;; esac
    if [ ! -r "$path" ]; then
      # some are gone by now
      if [ -e "$path" ]; then echo "unreadable $path"; fi
    elif [ -n "$(find "$path" -size "+${kib}k" 2>/dev/null)" ]; then
      echo "large $path"
    else
      look "$path"
      count=$((count + 1))
    fi
  done
  echo "files $count"
}
