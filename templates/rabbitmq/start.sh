#!/bin/sh
# Starts RabbitMQ without anything of before: a queue lives as long as who declared it, and the user and the password
# of the environment are taken at a first start alone.
set -eu
umask 077
rm -rf "$HOME/mnesia"
exec rabbitmq-server
