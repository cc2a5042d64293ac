#!/bin/sh
# Starts Valkey with its password from the environment: among its arguments everybody could read it.
#
#   VALKEY_PASSWORD  the password
#   arguments        settings, as valkey-server takes them
set -eu
umask 077
exec valkey-server "$@" - <<EOF
requirepass $VALKEY_PASSWORD
EOF
