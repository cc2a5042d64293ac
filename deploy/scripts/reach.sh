# Joins standard input and output with a TCP port that this host reaches.
# usage: reach.sh ADDRESS PORT
# For hosts whose SSH server forwards no ports (AllowTcpForwarding no).
address=$1 port=$2
has() { command -v "$1" >/dev/null 2>&1; }

if has python3; then
  exec python3 -c '
import os, select, socket, sys
try:
    there = socket.create_connection((sys.argv[1], int(sys.argv[2])), 30)
except OSError as error:
    sys.exit(f"{sys.argv[1]}:{sys.argv[2]}: {error}")
there.settimeout(None)
while True:
    ready, _, _ = select.select([0, there], [], [])
    for end in ready:
        data = os.read(0, 65536) if end == 0 else there.recv(65536)
        if not data:
            sys.exit()
        if end == 0:
            there.sendall(data)
        while end != 0 and data:
            data = data[os.write(1, data):]
' "$address" "$port"
fi
if has bash; then
  # shellcheck disable=SC2016 # these are bash's own variables
  exec bash -c '
    exec 3<>"/dev/tcp/$1/$2" 4<&0 || exit 1
    { cat <&4 >&3; kill $$; } 2>/dev/null &
    cat <&3
    kill $!
  ' bash "$address" "$port"
fi
if has socat; then
  case $address in *:*) address="[$address]" ;; esac
  exec socat - "TCP:$address:$port"
fi
if has nc; then
  case $(nc -h 2>&1) in
    *OpenBSD*) ;; # it stays when the other end has closed, and an answer that ends so would never end
    *) exec nc "$address" "$port" ;;
  esac
fi
echo "the SSH server of this host forwards no ports (AllowTcpForwarding), and the host has no" \
  "python3, bash, socat or nc (other than OpenBSD's) that would reach them: install one of these, or set" \
  "AllowTcpForwarding local in /etc/ssh/sshd_config and reload sshd" >&2
exit 127
