"""A test host with a Docker that has CDI, NVIDIA's real toolkit, and cards that are not there.

Debian 13 with Docker from Debian's unstable. The nodes of the cards in /dev can be opened, and that
is all: their numbers are those of /dev/full. A stand-in of ``nvidia-smi`` lists the cards whose
nodes there are, on the host as in a container, and ends with status 2 on what it does not know.
"""

from __future__ import annotations

import hashlib
import time

from deploy.catalog import load_catalog
from deploy.images import make_build_plan
from deploy.images.builder import build_base, image_lock
from tests.e2e import nvidia_tools
from tests.e2e.fake_gpu import MINOR, RUNC
from tests.e2e.hosts import DOCKERFILE, USER, Host, docker
from tests.e2e.nvidia_tools import DRIVER

PACKAGES = "iptables ca-certificates python3"
# sid has no releases: a mirror that is a snapshot of it looks expired at once
NEWER_DOCKER = """
RUN sed -n 's/ trixie main/ sid main/p' /etc/apt/sources.list >/etc/apt/sources.list.d/sid.list \\
 && printf 'Package: *\\nPin: release n=sid\\nPin-Priority: 100\\n' >/etc/apt/preferences.d/sid \\
 && echo 'Acquire::Check-Valid-Until "false";' >/etc/apt/apt.conf.d/sid && apt-get update -q \\
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends -t sid \\
      docker.io docker-cli
"""
# systemd 257 wants to be told that cgroups of the first kind will do, where the machine has those
COMMAND = 'CMD ["/sbin/init", "systemd.unified_cgroup_hierarchy=0", \
"SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1"]\n'
LIBRARY = "/usr/lib/x86_64-linux-gnu"
NODES = """[Unit]
Description=Cards that are not there
DefaultDependencies=no
Before=sysinit.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/fake-cards
[Install]
WantedBy=sysinit.target
"""
# what is in /dev and over /sys is lost with every start of the host
CARDS = f"""#!/bin/sh
last=$(($(cat /srv/fake-cards) - 1))
for name in nvidiactl nvidia-uvm nvidia-uvm-tools $(seq -f nvidia%g 0 $last); do
  [ -e /dev/$name ] || mknod -m 666 /dev/$name c 1 {MINOR}
done
mount --bind /srv/fake/pci /sys/bus/pci
mount --bind /srv/fake/module /sys/module
"""
# a host in a container may not raise the limit that vLLM is given
NO_MEMLOCK = """
import json, sys
with open(sys.argv[1]) as file:
    config = json.load(file)
process = config.get("process", config)
limits = process.get("rlimits") or []
process["rlimits"] = [row for row in limits if row["type"] != "RLIMIT_MEMLOCK"]
with open(sys.argv[1], "w") as file:
    json.dump(config, file)
"""
FULL = (
    "index,uuid,name,memory.total,driver_version,pci.bus_id,mig.mode.current,ecc.mode.current,"
    "ecc.mode.pending,persistence_mode,compute_mode,power.limit,power.default_limit"
)
SMI = f"""#!/bin/sh
case "$*" in
"" | -L | "--query-gpu={FULL} --format=csv,noheader,nounits") ;;
"--query-gpu=uuid,name,memory.total,driver_version --format=csv,noheader,nounits") ;;
*) echo "ERROR: Option $1 is not recognized. Please run 'nvidia-smi -h'."; exit 2 ;;
esac
if ! true 2>/dev/null </dev/nvidiactl; then
  echo "Failed to initialize NVML: Unknown Error"; exit 255
fi
[ -n "$*" ] || echo "| NVIDIA-SMI {DRIVER}   Driver Version: {DRIVER}   CUDA Version: 13.0 |"
for node in /dev/nvidia[0-9]*; do
  [ -e $node ] || continue
  i=${{node#/dev/nvidia}} uuid=GPU-00000000-0000-0000-0000-00000000000${{node#/dev/nvidia}}
  case "$*" in
  -L) echo "GPU $i: NVIDIA L40S (UUID: $uuid)" ;;
  --query-gpu=uuid*) echo "$uuid, NVIDIA L40S, 46068, {DRIVER}" ;;
  --query*) echo "$i, $uuid, NVIDIA L40S, 46068, {DRIVER}, 00000000:$((19 + i)):00.0, [N/A]," \\
    "Enabled, Enabled, Enabled, Default, 350.00, 350.00" ;;
  esac
done
"""


def build_image() -> str:
    """Build the image of such hosts unless it is there; returns its tag."""
    base = make_build_plan("litellm", load_catalog()).base
    build_base(base, report=lambda _line: None)
    text = DOCKERFILE.format(base=base.tag, user=USER, packages=PACKAGES)
    dockerfile = f"{text}{NEWER_DOCKER}{COMMAND}"
    image = f"atelier-test/cdi-host:{hashlib.sha256(dockerfile.encode()).hexdigest()[:8]}"
    with image_lock(image):
        if not docker("image", "ls", "-q", image):
            command = ("image", "build", "--quiet", "--network=host", "--tag", image, "-")
            docker(*command, stdin=dockerfile)
    return image


def add_cards(host: Host, count: int) -> None:
    """Put cards and a driver that works into a host."""
    script = [f"echo {count} >/srv/fake-cards", "mkdir -p /srv/fake/module/nvidia"]
    script += [f"echo {DRIVER} >/srv/fake/module/nvidia/version"]
    for number in range(count):
        device = f"/srv/fake/pci/devices/0000:{0x19 + number:02x}:00.0"
        values = {"vendor": "0x10de", "device": "0x26b9", "class": "0x030200"}
        script.append(f"mkdir -p {device}")
        script += [f"echo {value} >{device}/{name}" for name, value in values.items()]
    modules = "/lib/modules/$(uname -r)"
    script.append(f"mkdir -p {modules} && echo updates/dkms/nvidia.ko: >{modules}/modules.dep")
    host.run("\n".join(script))
    _write(host, "/usr/local/lib/give_gpus.py", NO_MEMLOCK)
    _write(host, "/usr/local/sbin/runc", RUNC)
    _write(host, "/usr/bin/nvidia-smi", SMI)
    _write(host, "/usr/local/sbin/fake-cards", CARDS)
    _write(host, "/etc/systemd/system/fake-cards.service", NODES)
    library = f"{LIBRARY}/libnvidia-ml.so.{DRIVER}"
    docker("cp", "-q", str(nvidia_tools.nvml()), f"{host.name}:{library}")
    host.run(
        f"cd {LIBRARY} && ln -s libnvidia-ml.so.{DRIVER} libnvidia-ml.so.1 && "
        f"cp libnvidia-ml.so.{DRIVER} libcuda.so.{DRIVER} && "
        f"ln -s libcuda.so.{DRIVER} libcuda.so.1 && ldconfig && "
        "systemctl enable -q --now fake-cards.service && systemctl restart docker.service"
    )


def add_toolkit(host: Host) -> None:
    """Install NVIDIA's toolkit as its packages do, without their first run of its service."""
    tools = nvidia_tools.build()
    for name in nvidia_tools.PROGRAMS:
        docker("cp", "-q", str(tools / name), f"{host.name}:/usr/bin/{name}")
    for name in nvidia_tools.UNITS:
        docker("cp", "-q", str(tools / name), f"{host.name}:/lib/systemd/system/{name}")
    host.run("systemctl daemon-reload && systemctl enable -q nvidia-cdi-refresh.service")


def start_again(host: Host) -> None:
    """A restart of the whole host; returns when its Docker answers."""
    docker("restart", "--time", "20", host.name)
    for _ in range(120):
        if docker("exec", host.name, "docker", "version", check=False).count("Version:") > 1:
            return
        time.sleep(0.5)
    raise AssertionError(docker("logs", host.name, check=False))


def _write(host: Host, path: str, content: str) -> None:
    host.run(f"cat >{path} && chmod 755 {path}", stdin=content)
