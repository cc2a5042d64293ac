# Looks for a word and for other texts in files that were changed lately, on a host or in a container.
#
#   sh -c "$(cat search_files.sh)" atelier WORD MINUTES KIB PLACE...
#
# PLACE is a directory, or !PATH of what is left out. The other texts, secrets among them, are on
# standard input, one a line, up to a line ".": everybody may see arguments. Nothing of a file is
# printed but three digits:
#
#   mark NNN PATH     WORD stands there, with these digits after it
#   form N PATH       the text of line N, from 0, stands there
#   large PATH        it has more than KIB, and was not read
#   unreadable PATH   a file or a directory
#   files N           so many were read; without this line, there was nothing to search with
set -u
command -v find >/dev/null && command -v grep >/dev/null || exit 1
word=$1 minutes=$2 kib=$3
shift 3
forms='' newline='
'
while IFS= read -r line && [ "$line" != . ]; do forms="$forms$line$newline"; done

is_left_out() {
  path=$1
  shift
  for place in "$@"; do
    case $place in '!'*) case $path in "${place#!}"*) return 0 ;; esac ;; esac
  done
  return 1
}

# the shell's own printf is no process, and so has no arguments
has_form() { printf '%s\n' "$1" | grep -q -a -F -f - -- "$2"; }

look() {
  for digits in $(grep -a -o -e "${word}[0-9a-f][0-9a-f][0-9a-f]" -- "$1" | sort -u | head -n 32); do
    echo "mark ${digits#"$word"} $1"
  done
  if [ -n "$forms" ] && has_form "${forms%"$newline"}" "$1"; then
    number=0
    printf '%s' "$forms" | while IFS= read -r form; do
      if has_form "$form" "$1"; then echo "form $number $1"; fi
      number=$((number + 1))
    done
  fi
}

for place in "$@"; do
  case $place in '!'*) continue ;; esac
  if [ -d "$place" ]; then
    find "$place" -xdev \( -type f -o -type d \) -mmin "-$minutes" 2>/dev/null
  fi
done | {
  count=0
  while IFS= read -r path; do
    if is_left_out "$path" "$@"; then continue; fi
    case $path in *"$word"*) echo "mark ${path#*"$word"} $path" ;; esac
    if [ ! -r "$path" ]; then
      # some are gone by now
      if [ -e "$path" ]; then echo "unreadable $path"; fi
    elif [ -d "$path" ]; then
      continue
    elif [ -n "$(find "$path" -size "+${kib}k" 2>/dev/null)" ]; then
      echo "large $path"
    else
      look "$path"
      count=$((count + 1))
    fi
  done
  echo "files $count"
}
