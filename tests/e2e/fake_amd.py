"""What AMD's cards add to a test host whose cards are not there: see fake_driver.

``modprobe amdgpu`` "loads" what the package ``amdgpu-dkms`` has "built", and puts ``/dev/kfd``, the
topology of its GPUs and the size of their memory where the kernel would.
"""

from __future__ import annotations

import hashlib

from tests.e2e.fake_driver import FAIL_BUILD, KERNEL, Repository, _index, _now, start_hardware
from tests.e2e.hosts import Host
from tests.gpg import gpg

DEVICE = "0x74a1"
"""An MI300X: https://pci-ids.ucw.cz/read/PC/1002/74a1"""
MEMORY_BYTES = 192 * 1024**3
BUILT = f"/lib/modules/{KERNEL}/updates/dkms/amdgpu.ko"
HARDWARE = """#!/bin/sh
# what the kernel does when it starts
rm -rf /srv/fake/module /srv/fake/class /dev/kfd /srv/fake/pci/devices/*/mem_info_vram_total
mkdir -p /srv/fake/module /srv/fake/class
mount --bind /srv/fake/class /sys/class
mount --bind /srv/fake/pci /sys/bus/pci
mount --bind /srv/fake/module /sys/module
cat /proc/sys/kernel/random/uuid >/srv/fake/boot_id
mount --bind /srv/fake/boot_id /proc/sys/kernel/random/boot_id
/usr/local/sbin/modprobe amdgpu || true
"""
MODPROBE = f"""#!/bin/sh
if [ ! -e {BUILT} ]; then
  echo "modprobe: FATAL: Module $1 not found in directory /lib/modules/{KERNEL}" >&2; exit 1
fi
mkdir -p /srv/fake/module/amdgpu
if [ ! -e /srv/fake/module/amdgpu/version ]; then
  cp {BUILT} /srv/fake/module/amdgpu/version
  cp {BUILT}.source /srv/fake/module/amdgpu/srcversion
fi
for d in /srv/fake/pci/devices/*; do
  echo {MEMORY_BYTES} >$d/mem_info_vram_total
  node=/srv/fake/class/kfd/kfd/topology/nodes/${{d##*/}}
  mkdir -p $node && echo "gfx_target_version 90402" >$node/properties
done
[ -e /dev/kfd ] || {{ mknod /dev/kfd c 511 0; chgrp render /dev/kfd; }}
"""
MODINFO = f"""#!/bin/sh
case "$*" in
"-F version amdgpu") cat {BUILT} ;;
"-F srcversion amdgpu") cat {BUILT}.source ;;
*) echo "modinfo: ERROR: Module not found." >&2; exit 1 ;;
esac
"""
BUILD = f"""#!/bin/sh
set -e
case $1 in configure) ;; *) exit 0 ;; esac
if [ -e {FAIL_BUILD} ]; then
  log=/var/lib/dkms/amdgpu/6.16.13/build; mkdir -p $log
  echo "kcl_preempt.h:61:29: error: static declaration of 'migrate_enable'" >$log/make.log
  exit 10
fi
mkdir -p $(dirname {BUILT}) && echo 6.16.13 >{BUILT} && echo CODE >{BUILT}.source
"""


def add_cards(host: Host, count: int) -> None:
    """Put cards into a host and start it anew, as far as its kernel is concerned."""
    # udev's package makes it, which such a host does not have
    host.run("getent group render || groupadd --system render")
    values = {"vendor": "0x1002", "device": DEVICE, "class": "0x120000"}
    start_hardware(host, count, values, {
        "fake-hardware": HARDWARE, "modprobe": MODPROBE, "modinfo": MODINFO,
    })  # fmt: skip
    # the kernel's own amdgpu, which does not know the card
    host.run(f"d=/lib/modules/{KERNEL}/kernel/drivers/gpu/drm/amd/amdgpu; mkdir -p $d; "
             ">$d/amdgpu.ko.xz")  # fmt: skip


class AmdRepository(Repository):
    """AMD's repository, for Debian 12 as for Ubuntu 22.04."""

    def settings(self) -> dict[str, str]:
        return {"repository": self.url, "key_fingerprint": self.fingerprint}

    def publish(self, version: str, seconds: float = 0) -> None:  # noqa: ARG002 - as others
        """Make and sign the packages of one version of the driver, which is built at once.

        The module of each has the same version, as with AMD's, and another source.
        """
        root = self.directory / version / "ubuntu"
        pool, suite = root / "pool", root / "dists" / "jammy"
        packages = suite / "main" / "binary-amd64" / "Packages"
        for place in (pool, packages.parent):
            place.mkdir(parents=True, exist_ok=True)
        code = "".join(f"{int(part):02d}" for part in f"{version}.0.0".split(".")[:4])
        build = BUILD.replace("CODE", code)
        self._package(pool, "amdgpu-dkms", f"1:6.16.13.{code}-2384091.22.04", {}, build)
        full = ".".join(f"{version}.0.0".split(".")[:4])
        self._package(pool, "amdgpu-dkms-firmware", f"{full}.{code}-2384091.22.04", {})
        kind = KERNEL.partition("-")[2]
        self._package(pool, f"linux-headers-{KERNEL}", "1", {})
        self._package(pool, f"linux-headers-{kind}", "1", {})
        text = "\n".join(_index(deb, "pool") for deb in sorted(pool.glob("*.deb")))
        packages.write_text(text)
        data = text.encode()
        digest = hashlib.sha256(data).hexdigest()
        release = (
            "Origin: repo.radeon.com\nLabel: repo.radeon.com\nSuite: jammy\nCodename: jammy\n"
            f"Architectures: amd64\nComponents: main\nDate: {_now()}\n"
            f"SHA256:\n {digest} {len(data)} main/binary-amd64/Packages\n"
        )
        signed = gpg(self.home, "--clearsign", "--digest-algo", "SHA256", stdin=release)
        (suite / "InRelease").write_text(signed)
        (self.directory / "rocm.gpg.key").write_text(gpg(self.home, "--armor", "--export"))
