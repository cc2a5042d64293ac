#!/bin/sh
# Starts RabbitMQ without anything of before: a queue lives as long as who declared it, and the user and the password
# of the environment are taken at a first start alone.
#
# Where Docker allows a billion open files, Erlang starts for minutes and outgrows its memory:
# https://github.com/docker-library/rabbitmq/issues/545
# shellcheck disable=SC3045 # dash knows it, which is sh in both images
set -eu
MOST_FILES=65536
umask 077
rm -rf "$HOME/mnesia"
files=$(ulimit -n)
if [ "$files" = unlimited ] || [ "$files" -gt "$MOST_FILES" ]; then
  ulimit -n "$MOST_FILES"
fi
exec rabbitmq-server
