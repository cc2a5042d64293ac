"""A test host with NVIDIA cards that are not there, and a repository of small packages for them.

The cards are a tree that is bound over ``/sys/bus/pci``; modules are a tree bound over
``/sys/module``. ``modprobe nvidia`` "loads" what the package ``nvidia-kernel-open-dkms`` has
"built"; a restart of the host (of its container) forgets what was loaded, and loads it again as a
kernel would: nouveau, unless it is blacklisted, else nvidia. ``nvidia-smi`` is tests/fake_smi.py.

The packages have the names of NVIDIA's and are installed by the host's real apt, from a repository
that this module signs.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TypeVar

from tests.e2e.hosts import Host, bridge
from tests.fake_smi import SMI
from tests.gpg import gpg
from tests.serving import running

KERNEL = platform.release()
DEVICE = "0x2330"
"""An H100: https://pci-ids.ucw.cz/read/PC/10de/2330"""
BUILT = f"/lib/modules/{KERNEL}/updates/dkms/nvidia.ko"
FAIL_BUILD = "/srv/fake/fail-build"
HOLD_BUILD = "/srv/fake/hold-build"
"""As long as it is there, modules are being built."""
REFUSE_MODULE = "/srv/fake/refuse-module"
UNIT = """[Unit]
Description=Cards that are not there
DefaultDependencies=no
Before=sysinit.target
[Service]
Type=oneshot
ExecStart=/usr/local/sbin/fake-hardware
[Install]
WantedBy=sysinit.target
"""
HARDWARE = """#!/bin/sh
# what the kernel does when it starts
rm -rf /srv/fake/module /srv/fake/gpus.json && mkdir -p /srv/fake/module
mount --bind /srv/fake/pci /sys/bus/pci
mount --bind /srv/fake/module /sys/module
cat /proc/sys/kernel/random/uuid >/srv/fake/boot_id
mount --bind /srv/fake/boot_id /proc/sys/kernel/random/boot_id
if [ -e /srv/fake/nouveau ] && ! grep -qs '^blacklist nouveau' /etc/modprobe.d/*.conf; then
  mkdir /srv/fake/module/nouveau
else
  /usr/local/sbin/modprobe nvidia || true
fi
"""
MODPROBE = f"""#!/bin/sh
if [ -e {REFUSE_MODULE} ]; then
  echo "modprobe: ERROR: could not insert 'nvidia': Key was rejected by service"; exit 1
fi
if [ ! -e {BUILT} ]; then
  echo "modprobe: FATAL: Module $1 not found in directory /lib/modules/{KERNEL}" >&2; exit 1
fi
[ "$1" = nvidia ] || exit 0
mkdir -p /srv/fake/module/nvidia
[ -e /srv/fake/module/nvidia/version ] || cp {BUILT} /srv/fake/module/nvidia/version
"""
MODINFO = f"""#!/bin/sh
case "$*" in
"-F version nvidia") cat {BUILT} ;;
"-F license nvidia") echo "Dual MIT/GPL" ;;
*) echo "modinfo: ERROR: Module not found." >&2; exit 1 ;;
esac
"""
PERSISTENCED = """[Unit]
Description=NVIDIA Persistence Daemon
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c '[ -d /sys/module/nvidia ]'
[Install]
WantedBy=multi-user.target
"""
CTK = """#!/bin/sh
case "$*" in
--version) echo 'NVIDIA Container Toolkit CLI version 1.20.0'; exit ;;
"cdi generate --output=/var/run/cdi/nvidia.yaml") ;;
*) echo "Incorrect Usage: $*"; exit 1 ;;
esac
version=$(cat /sys/module/nvidia/version) || { echo "Driver Not Loaded"; exit 1; }
mkdir -p /var/run/cdi
{
  printf 'cdiVersion: 0.5.0\\nkind: nvidia.com/gpu\\ndevices:\\n'
  i=0
  for d in /sys/bus/pci/devices/*; do
    printf '    - name: "%s"\\n      containerEdits:\\n        deviceNodes:\\n' $i
    printf '            - path: /dev/nvidia%s\\n' $i
    i=$((i + 1))
  done
  library=/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.$version
  printf 'containerEdits:\\n    mounts:\\n        - hostPath: %s\\n' $library
  printf '          containerPath: %s\\n' $library
} >/var/run/cdi/nvidia.yaml
"""
REFRESH = """[Unit]
Description=Refresh NVIDIA CDI specification file
[Service]
Type=oneshot
ExecStart=/usr/bin/nvidia-ctk cdi generate --output=/var/run/cdi/nvidia.yaml
[Install]
WantedBy=multi-user.target
"""
ENABLE_REFRESH = """#!/bin/sh
case $1 in configure) systemctl enable -q nvidia-cdi-refresh.service ;; esac
"""
BUILD = f"""#!/bin/sh
set -e
case $1 in configure) ;; *) exit 0 ;; esac
while [ -e {HOLD_BUILD} ]; do sleep 0.1; done
if [ -e {FAIL_BUILD} ]; then
  log=/var/lib/dkms/nvidia/VERSION/build; mkdir -p $log
  echo "nvidia/nv-pci.c:237:9: error: too few arguments to function 'pci_resize_resource'" \\
    >$log/make.log
  echo "Error! Bad return status for module build on kernel: {KERNEL} (x86_64)"
  exit 10
fi
mkdir -p $(dirname {BUILT}) && echo VERSION >{BUILT}
"""
TOOLKIT = ("nvidia-container-toolkit", "nvidia-container-toolkit-base",
           "libnvidia-container-tools", "libnvidia-container1")  # fmt: skip


def add_cards(host: Host, count: int, *, nouveau: bool = False) -> None:
    """Put cards into a host and start it anew, as far as its kernel is concerned."""
    if nouveau:
        host.run("mkdir -p /srv/fake && touch /srv/fake/nouveau")
    values = {"vendor": "0x10de", "device": DEVICE, "class": "0x030200"}
    start_hardware(host, count, values, {
        "fake-hardware": HARDWARE, "modprobe": MODPROBE, "modinfo": MODINFO,
    })  # fmt: skip


def start_hardware(
    host: Host, count: int, values: dict[str, str], programs: dict[str, str]
) -> None:
    """Put cards onto the bus of a host, and start it anew, as far as its kernel is concerned."""
    script = ["mkdir -p /srv/fake", f"cat >/srv/fake/unit <<'end'\n{UNIT}end"]
    for number in range(count):
        device = f"/srv/fake/pci/devices/0000:{0x19 + number:02x}:00.0"
        script.append(f"mkdir -p {device}")
        script += [f"echo {value} >{device}/{name}" for name, value in values.items()]
    host.run("\n".join(script))
    for name, text in programs.items():
        host.run(f"cat >/usr/local/sbin/{name} && chmod 755 /usr/local/sbin/{name}", text)
    host.run(
        "mv /srv/fake/unit /etc/systemd/system/fake-hardware.service && "
        "systemctl enable fake-hardware.service && systemctl start fake-hardware.service"
    )


@dataclass
class Repository:
    """NVIDIA's two repositories, served from a directory of this machine."""

    directory: Path
    url: str = ""
    fingerprint: str = ""
    home: Path = field(default_factory=Path)

    @property
    def driver(self) -> Path:
        return self.directory / "debian12" / "x86_64"

    @property
    def toolkit(self) -> Path:
        return self.directory / "toolkit" / "stable" / "deb" / "amd64"

    def settings(self) -> dict[str, str]:
        """What is declared of them."""
        return {
            "repository": self.url,
            "key_fingerprint": self.fingerprint,
            "toolkit_repository": f"{self.url}/toolkit",
            "toolkit_key_fingerprint": self.fingerprint,
        }

    def new_key(self) -> None:
        """Sign with a key that was never there before; what is published stays as it is."""
        self.home = self.directory / f"gnupg-{len(list(self.directory.glob('gnupg-*')))}"
        self.home.mkdir(mode=0o700)
        name = "Test <test@example.org>"
        gpg(self.home, "--passphrase", "", "--quick-generate-key", name, "rsa2048", "sign", "never")
        listed = gpg(self.home, "--with-colons", "--list-keys")
        self.fingerprint = next(
            line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr")
        )

    def publish(self, version: str) -> None:
        """Make and sign the packages of one version of the driver, and the toolkit's."""
        self.driver.mkdir(parents=True, exist_ok=True)
        self.toolkit.mkdir(parents=True, exist_ok=True)
        build = BUILD.replace("VERSION", version)
        library = "/usr/lib/x86_64-linux-gnu"
        smi = {"/usr/bin/nvidia-smi": SMI.replace("@VERSION@", version),
               f"{library}/libnvidia-ml.so.{version}": ""}  # fmt: skip
        links = {f"{library}/libnvidia-ml.so.1": f"libnvidia-ml.so.{version}"}
        unit = {"/lib/systemd/system/nvidia-persistenced.service": PERSISTENCED}
        pool = self.driver
        kind = KERNEL.partition("-")[2]
        for pinned in ("580", version):
            self._package(pool, f"nvidia-driver-pinning-{pinned}", f"{version}-1", {})
        self._package(pool, "nvidia-kernel-open-dkms", f"{version}-1", {}, build)
        self._package(pool, "nvidia-driver-cuda", f"{version}-1", smi, links=links)
        self._package(pool, "nvidia-persistenced", f"{version}-1", unit)
        self._package(pool, f"linux-headers-{KERNEL}", "1", {})
        self._package(pool, f"linux-headers-{kind}", "1", {})
        unit_file = "/lib/systemd/system/nvidia-cdi-refresh.service"
        for name in TOOLKIT:
            is_base = name == TOOLKIT[1]
            files = {"/usr/bin/nvidia-ctk": CTK, unit_file: REFRESH} if is_base else {}
            enable = ENABLE_REFRESH if is_base else ""
            self._package(self.toolkit, name, "1.20.0-1", files, enable)
        self.sign()

    def sign(self) -> None:
        """Write the indices and sign them with the key of today."""
        armoured = gpg(self.home, "--armor", "--export")
        (self.driver / "3bf863cc.pub").write_text(armoured)
        (self.directory / "toolkit" / "gpgkey").write_text(armoured)
        for pool in (self.driver, self.toolkit):
            packages = "\n".join(_index(deb) for deb in sorted(pool.glob("*.deb")))
            (pool / "Packages").write_text(packages)
            data = packages.encode()
            digest = hashlib.sha256(data).hexdigest()
            release = (
                "Origin: NVIDIA\nLabel: NVIDIA CUDA\nArchitectures: amd64\n"
                f"Date: {_now()}\nSHA256:\n {digest} {len(data)} Packages\n"
            )
            signed = gpg(self.home, "--clearsign", "--digest-algo", "SHA256", stdin=release)
            (pool / "InRelease").write_text(signed)

    def withdraw(self, name: str) -> None:
        """Have a package no longer."""
        for deb in [*self.driver.glob(f"{name}_*.deb"), *self.toolkit.glob(f"{name}_*.deb")]:
            deb.unlink()
        self.sign()

    def _package(
        self,
        pool: Path,
        name: str,
        version: str,
        files: dict[str, str],
        postinst: str = "",
        links: dict[str, str] | None = None,
    ) -> None:
        root = self.directory / "build"
        shutil.rmtree(root, ignore_errors=True)
        control = root / "DEBIAN" / "control"
        control.parent.mkdir(parents=True)
        control.write_text(
            f"Package: {name}\nVersion: {version}\nArchitecture: amd64\n"
            "Maintainer: Test <test@example.org>\nDescription: made up for a test\n"
        )
        if postinst:
            (root / "DEBIAN" / "postinst").write_text(postinst)
            (root / "DEBIAN" / "postinst").chmod(0o755)
        for path, text in files.items():
            place = root / path.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
            place.chmod(0o755)
        for path, target in (links or {}).items():
            (root / path.lstrip("/")).symlink_to(target)
        command = ["dpkg-deb", "--root-owner-group", "--build", str(root), str(pool)]
        subprocess.run(command, check=True, capture_output=True)


def _index(deb: Path, folder: str = ".") -> str:
    """Lines of a package in a repository's index."""
    control = subprocess.run(
        ["dpkg-deb", "-f", str(deb)], capture_output=True, text=True, check=True
    ).stdout
    data = deb.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    return f"{control}Filename: {folder}/{deb.name}\nSize: {len(data)}\nSHA256: {digest}\n"


def _now() -> str:
    """As a Release file states it."""
    return subprocess.run(
        ["date", "-Ru"], capture_output=True, text=True, check=True
    ).stdout.strip()


Served = TypeVar("Served", bound=Repository)


@contextmanager
def serve(directory: Path) -> Iterator[Repository]:
    """Repositories that hosts reach, signed with a new key, and empty."""
    with serve_as(directory, Repository) as repository:
        yield repository


@contextmanager
def serve_as(directory: Path, kind: type[Served]) -> Iterator[Served]:
    """Repositories that hosts reach, signed with a new key, and empty."""
    handler = partial(_Quiet, directory=str(directory))
    with running(ThreadingHTTPServer((bridge(), 0), handler)) as server:
        repository = kind(directory, f"http://{bridge()}:{server.server_port}")
        repository.new_key()
        yield repository


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
