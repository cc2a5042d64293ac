"""Test hosts with NVIDIA GPUs that are not there.

Docker accepts ``--gpus`` where a program called ``nvidia-container-runtime-hook`` is on the
daemon's path when it starts (before version 25, which reads descriptions of devices in /etc/cdi
too), and sets ``NVIDIA_VISIBLE_DEVICES`` in the container. Here that program does nothing. What
gives a container its GPUs is a ``runc`` that comes before Docker's own on the path: it binds a
directory of the host to ``/fake-gpus``, the memory of the host's cards, which the stand-in of vLLM
shares (fake_vllm). It also leaves out the limit of locked memory, which vLLM is given and a host
in a container may not raise.

``nvidia-smi`` is there too, so that the check of the host finds what the inventory declares.

    host = start_host(NAME, directory)
    install(host)
    ... deploy with gpus="1x l40s" and the image of fake_vllm.build() ...
    used(host)                          # {0: {"3f2a..-1": 0.75}}
"""

from __future__ import annotations

from tests.e2e.hosts import Host

CARDS = "/srv/fake-gpus"
"""On the host: a directory for each card."""
HOOK = "/usr/local/sbin/nvidia-container-runtime-hook"
RUNC = """#!/bin/sh
last= file=
for word in "$@"; do
  case $last in
  --bundle) file=$word/config.json ;;
  --process) file=$word ;;
  esac
  last=$word
done
[ -z "$file" ] || python3 /usr/local/lib/give_gpus.py "$file"
exec /usr/sbin/runc "$@"
"""
GIVE_GPUS = """
import json, sys
with open(sys.argv[1]) as file:
    config = json.load(file)
process = config.get("process", config)
if any(row.startswith("NVIDIA_VISIBLE_DEVICES=") for row in process["env"]):
    bind = {"type": "bind", "options": ["rbind", "rw"]}
    config["mounts"].append({"source": "CARDS", "destination": "/fake-gpus", **bind})
limits = process.get("rlimits") or []
process["rlimits"] = [row for row in limits if row["type"] != "RLIMIT_MEMLOCK"]
with open(sys.argv[1], "w") as file:
    json.dump(config, file)
"""
NVIDIA_SMI = """#!/bin/sh
case "$*" in
*--query-gpu=*)
  i=0
  while [ $i -lt COUNT ]; do
    echo "$i, GPU-00000000-0000-0000-0000-00000000000$i, NVIDIA L40S, 46068, 570.124.06," \\
      "00000000:0$i:00.0, [N/A], Enabled"
    i=$((i + 1))
  done
  ;;
*) echo '| NVIDIA-SMI 570.124.06    Driver Version: 570.124.06    CUDA Version: 12.8 |' ;;
esac
"""


def install(host: Host, cards: int = 1) -> None:
    """Give a host fake cards; a Docker that runs there is restarted."""
    host.run(f"mkdir -p {CARDS} && ln -sf /bin/true {HOOK}")
    _write(host, "/usr/local/lib/give_gpus.py", GIVE_GPUS.replace("CARDS", CARDS))
    _write(host, "/usr/local/sbin/runc", RUNC)
    _write(host, "/usr/bin/nvidia-smi", NVIDIA_SMI.replace("COUNT", str(cards)))
    host.run("! systemctl is-active -q docker || systemctl restart docker")


def used(host: Host) -> dict[int, dict[str, float]]:
    """The shares that running engines hold, by card and by holder (container and process)."""
    listed = host.run(
        f"cd {CARDS} && for f in */*.share; do [ ! -e $f ] || flock -n $f true || "
        'echo "$f $(cat $f)"; done'
    )
    found: dict[int, dict[str, float]] = {}
    for line in listed.splitlines():
        path, share = line.split()
        card, _, name = path.partition("/")
        found.setdefault(int(card), {})[name.removesuffix(".share")] = float(share)
    return found


def _write(host: Host, path: str, content: str) -> None:
    host.run(f"cat >{path} && chmod 755 {path}", stdin=content)
