"""Test hosts with NVIDIA GPUs that are not there.

Docker accepts ``--gpus`` where a program called ``nvidia-container-runtime-hook`` is on the
daemon's path when it starts (before version 25, which reads descriptions of devices in /etc/cdi
too), and sets ``NVIDIA_VISIBLE_DEVICES`` in the container. Here that program does nothing. What
gives a container its GPUs is a ``runc`` that comes before Docker's own on the path: it binds a
directory of the host to ``/fake-gpus``, the memory of the host's cards, which the stand-in of vLLM
shares (fake_vllm); it brings ``nvidia-smi`` and ``/dev/nvidiactl``, which can be opened and is
``/dev/full``. It also leaves out the limit of locked memory, which vLLM is given and a host in a
container may not raise.

``nvidia-smi`` is on the host too, so that the check of the host finds what the inventory declares,
and so are the cards on its bus and the module.

    host = start_host(NAME, directory)
    install(host)
    ... deploy with gpus="1x l40s" and the image of fake_vllm.build() ...
    used(host)                          # {0: {"3f2a..-1": 0.75}}
"""

from __future__ import annotations

import pytest

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
    for source, place in (("CARDS", "/fake-gpus"), ("/usr/bin/nvidia-smi", "/usr/bin/nvidia-smi")):
        config["mounts"].append({"source": source, "destination": place, **bind})
    node = {"path": "/dev/nvidiactl", "type": "c", "major": 1, "minor": MINOR, "fileMode": 0o666}
    config["linux"].setdefault("devices", []).append(node | {"uid": 0, "gid": 0})
limits = process.get("rlimits") or []
process["rlimits"] = [row for row in limits if row["type"] != "RLIMIT_MEMLOCK"]
with open(sys.argv[1], "w") as file:
    json.dump(config, file)
"""
MINOR = 7
"""Of /dev/full, whose major number is 1."""
DRIVER = "580.178.04"
NVIDIA_SMI = """#!/bin/sh
case "$*" in
*--query-gpu=uuid,name,memory.total,driver_version*)
  i=0
  while [ $i -lt COUNT ]; do
    echo "GPU-00000000-0000-0000-0000-00000000000$i, NVIDIA L40S, 46068, 580.178.04"
    i=$((i + 1))
  done
  ;;
*--query-gpu=*)
  i=0
  while [ $i -lt COUNT ]; do
    echo "$i, GPU-00000000-0000-0000-0000-00000000000$i, NVIDIA L40S, 46068, 580.178.04," \\
      "00000000:0$i:00.0, [N/A], Enabled, Enabled, Enabled, Default, 350.00, 350.00"
    i=$((i + 1))
  done
  ;;
*) echo '| NVIDIA-SMI 580.178.04    Driver Version: 580.178.04    CUDA Version: 13.0 |' ;;
esac
"""


def install(host: Host, cards: int = 1) -> None:
    """Give a host fake cards; a Docker that runs there is restarted."""
    host.run(f"mkdir -p {CARDS} && ln -sf /bin/true {HOOK}")
    _add_to_bus(host, cards)
    give = GIVE_GPUS.replace("CARDS", CARDS).replace("MINOR", str(MINOR))
    _write(host, "/usr/local/lib/give_gpus.py", give)
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


def lose_cards(host: Host, container: str) -> None:
    """What a reload of systemd does to a container that has its cards by the hook.

    Only its own group of devices is written to, and only of the number that the cards have here.
    """
    if host.run("ls -d /sys/fs/cgroup/devices", check=False) == "":
        pytest.skip("devices of a container are a program of its cgroup here, not a list")
    name = host.run(f"docker inspect -f '{{{{.Id}}}}' {container}")
    assert len(name) == 64, name
    group = f"/sys/fs/cgroup/devices/docker/{name}"
    host.run(f"test -d {group} && echo 'c 1:{MINOR} rwm' >{group}/devices.deny")


def _add_to_bus(host: Host, cards: int) -> None:
    """Cards on the bus, and the module that drives them."""
    script = [f"mkdir -p /srv/bus/module/nvidia && echo {DRIVER} >/srv/bus/module/nvidia/version"]
    for number in range(cards):
        device = f"/srv/bus/pci/devices/0000:{number:02x}:00.0"
        values = {"vendor": "0x10de", "device": "0x26b9", "class": "0x030200"}
        script.append(f"mkdir -p {device}")
        script += [f"echo {value} >{device}/{name}" for name, value in values.items()]
    mounts = "mount --bind /srv/bus/pci /sys/bus/pci && mount --bind /srv/bus/module /sys/module"
    host.run("\n".join([*script, mounts]))


def _write(host: Host, path: str, content: str) -> None:
    host.run(f"cat >{path} && chmod 755 {path}", stdin=content)
