#!/bin/sh
# Starts SGLang with its key from the environment: it takes none from there, and among its
# arguments everybody could read it.
#
#   ATELIER_ENGINE_KEY  the key
#   arguments           of `sglang serve`
set -eu
umask 077
case "$ATELIER_ENGINE_KEY" in
-*)
    echo "the engines' key begins with '-', which SGLang takes for an argument: choose another one" >&2
    exit 64
    ;;
esac
settings=$(mktemp -d)/sglang.yaml
quoted=$(printf %s "$ATELIER_ENGINE_KEY" | sed "s/'/''/g")
printf "api-key: '%s'\n" "$quoted" >"$settings"
unset ATELIER_ENGINE_KEY quoted
exec sglang serve "$@" --config "$settings"
