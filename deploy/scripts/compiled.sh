# Carries what an engine compiled from a container into the volume of one that is yet to be created.
#
#   sh -c "$(cat compiled.sh)" atelier pack DIRECTORY CONTAINER ARCHIVE
#   sh -c "$(cat compiled.sh)" atelier unpack DIRECTORY VOLUME IMAGE DEPLOYMENT ARCHIVE
#   sh -c "$(cat compiled.sh)" atelier forget DIRECTORY ARCHIVE
#
# DIRECTORY is where it is in both containers. pack runs tar in the one that serves, unpack runs nothing and removes the archive.
# cache_key_factors.json stays behind: vLLM only writes it, and before vllm-project/vllm#52523 with the engine's key in it.
set -eu
export LC_ALL=C
# shellcheck disable=SC1091 # read_script puts it here
. docker_client.sh
umask 077

action=$1 directory=$2
shift 2

case $action in
  pack)
    container=$1 archive=$2
    mkdir -p "$(dirname "$archive")"
    rm -f "$archive" "$archive.failed"
    # 1: a file changed meanwhile; what loads it finds out
    { docker exec "$container" tar -C "$(dirname "$directory")" --exclude=cache_key_factors.json --exclude='*.tmp' \
      -cf - "$(basename "$directory")" || [ $? = 1 ] || touch "$archive.failed"; } | gzip -1 >"$archive"
    if [ -e "$archive.failed" ]; then
      rm -f "$archive" "$archive.failed"
      exit 1
    fi
    ;;
  unpack)
    volume=$1 image=$2 deployment=$3 archive=$4
    # with the deployment's label, so that what a killed run leaves is removed by the next one
    carrier=$volume.carrier
    docker container rm --force "$carrier" >/dev/null 2>&1 || true
    trap 'rm -f "$archive"; docker container rm --force "$carrier" >/dev/null 2>&1' EXIT
    docker container create --name "$carrier" --label "io.atelier.deployment=$deployment" --network none \
      --mount "type=volume,source=$volume,target=$directory" --entrypoint /atelier-none "$image" >/dev/null
    gzip -dc "$archive" | docker cp - "$carrier:$(dirname "$directory")"
    ;;
  forget) rm -f "$1" ;;
esac
