#!/bin/sh
# Starts PostgreSQL when its databases and their roles are as declared: at the first start, and at every
# one after it, so that another password or another database needs nothing but a new container.
#
#   ATELIER_DATABASES   names of the databases, each with an owner of the same name
#   ATELIER_PASSWORD_x  password of the owner of x
#   PGDATA              where everything is
#   arguments           settings of the server, as postgres takes them
set -eu
umask 077
directory=$(dirname "$0")

# a directory that is made in one step: initdb may be killed
if [ ! -d "$PGDATA" ]; then
  rm -rf "$PGDATA.new"
  # texts sort by the server's own rules, not by those of the image's C library
  initdb --pgdata="$PGDATA.new" --username=postgres --auth-local=peer --auth-host=scram-sha-256 --data-checksums \
    --encoding=UTF8 --locale=C.UTF-8 --locale-provider=builtin --builtin-locale=C.UTF-8 >/dev/null
  mv "$PGDATA.new" "$PGDATA"
fi

# not reachable yet; a statement that fails is not logged: a password may stand in it
pg_ctl --pgdata="$PGDATA" --wait --timeout=3600 --silent \
  --options="-c listen_addresses= -c hba_file=$directory/pg_hba.conf -c log_min_error_statement=panic" start
for name in $ATELIER_DATABASES; do
  eval "password=\$ATELIER_PASSWORD_$name"
  # shellcheck disable=SC2154 # set above
  ATELIER_PASSWORD=$password psql --no-psqlrc --quiet --username=postgres --dbname=postgres \
    --set=ON_ERROR_STOP=1 --set=VERBOSITY=terse --set=name="$name" --file="$directory/database.sql"
done
pg_ctl --pgdata="$PGDATA" --wait --timeout=3600 --silent --mode=fast stop

exec postgres -D "$PGDATA" -c "hba_file=$directory/pg_hba.conf" "$@"
