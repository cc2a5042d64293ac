# Gives the container engine an image from an archive, and removes the archive.
#
#   sh -c "$(cat image.sh)" atelier load ARCHIVE REFERENCE
set -eu
trap '' PIPE # finish what was begun even when nobody listens any more

archive=$2 reference=$3

if ! output=$(docker image load --quiet --input "$archive" 2>&1); then
  rm -f "$archive"
  echo "docker image load failed: $output"
  exit 1
fi
rm -f "$archive"
if ! docker image inspect "$reference" >/dev/null 2>&1; then
  echo "the archive does not hold $reference: $output"
  exit 1
fi
