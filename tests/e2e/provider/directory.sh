#!/bin/sh
# OpenLDAP with the people of people.ldif in the directory $1, over TLS at port $2.
set -eu
place=$1 port=$2 local=ldapi://%2ftmp%2fldapi
mkdir -p /tmp/ldap
cat >/tmp/slapd.conf <<EOF
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
TLSCertificateFile $place/tls.crt
TLSCertificateKeyFile $place/tls.key
database mdb
suffix dc=lab,dc=example
rootdn cn=admin,dc=lab,dc=example
rootpw filled-once
directory /tmp/ldap
overlay memberof
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="cn=reader,dc=lab,dc=example" read by * none
EOF
(
  until ldapadd -x -H "$local" -D cn=admin,dc=lab,dc=example -w filled-once -f "$place/people.ldif"; do sleep 0.1; done
  touch /tmp/filled
) &
exec /usr/sbin/slapd -d 256 -f /tmp/slapd.conf -h "ldaps://0.0.0.0:$port $local"
