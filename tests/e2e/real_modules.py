"""NVIDIA's real kernel modules for a test host, in a repository that looks like NVIDIA's.

NVIDIA's own repository cannot be reached from everywhere. Ubuntu's archive has the same sources;
they and the scripts that have DKMS build them become one package with the name that NVIDIA's has.
The host's kernel is the one of Debian's real headers: what the machine runs has none. That kernel
is what ``uname`` says and what ``modinfo`` looks at; ``modprobe`` "loads" what DKMS built for it.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.e2e.fake_driver import DEVICE, HARDWARE, Repository, start_hardware
from tests.e2e.hosts import Host
from tests.e2e.names import PROJECT

MODULE = "nvidia-kernel-open-dkms"
ARCHIVES = ("http://archive.ubuntu.com/ubuntu", "http://old-releases.ubuntu.com/ubuntu")
"""A release that has ended moves from the first to the second."""
POOL = "pool/restricted/n/nvidia-graphics-drivers-580"
DOWNLOADS = PROJECT / ".cache" / "nvidia-modules"
UNAME = """#!/bin/sh
if [ "$*" = -r ]; then echo KERNEL; else exec /usr/bin/uname "$@"; fi
"""
MODINFO = """#!/bin/sh
case " $* " in *" -k "*) ;; *) set -- -k KERNEL "$@" ;; esac
exec /usr/sbin/modinfo "$@"
"""
MODPROBE = """#!/bin/sh
if ! version=$(/usr/sbin/modinfo -k KERNEL -F version "$1" 2>/dev/null); then
  echo "modprobe: FATAL: Module $1 not found in directory /lib/modules/KERNEL" >&2; exit 1
fi
[ "$1" = nvidia ] || exit 0
mkdir -p /srv/fake/module/nvidia
[ -e /srv/fake/module/nvidia/version ] || echo "$version" >/srv/fake/module/nvidia/version
"""


@dataclass(frozen=True)
class Release:
    """One version of the modules, as a release of Ubuntu came with it: that never changes."""

    package: str
    """Its version there."""
    source: str
    """SHA-256 of nvidia-kernel-source-580-open, as that release's index states it."""
    dkms: str
    """The same of nvidia-dkms-580-open."""

    @property
    def files(self) -> dict[str, str]:
        """Names of the two packages, and their checksums."""
        digests = {"kernel-source": self.source, "dkms": self.dkms}
        return {
            f"nvidia-{kind}-580-open_{self.package}_amd64.deb": digest
            for kind, digest in digests.items()
        }


RELEASES = {
    # of Ubuntu 25.10, questing
    "580.82.07": Release(
        "580.82.07-0ubuntu2",
        source="4484c710f9da15e310dbbaae5ac6c089cb23c43f821ff75dfd665b8a220d604a",
        dkms="c27b7077fafcbc657db0985447698aefe751e625c731bc62025e8933c39406b4",
    ),
    # of Ubuntu 26.04, resolute
    "580.142": Release(
        "580.142-0ubuntu3",
        source="a6ebd5284052b477b10a3da57f987b10bcc55e708f5f1b224662cb56b4b0a012",
        dkms="870335af75e13c27e4fa69fb9d549fc103957b284636c0bc8edb1cc4ac18dd99",
    ),
}


class RealModules(Repository):
    """NVIDIA's two repositories, with modules to build; headers are Debian's own."""

    def _package(
        self,
        pool: Path,
        name: str,
        version: str,
        files: dict[str, str],
        postinst: str = "",
        links: dict[str, str] | None = None,
    ) -> None:
        if name == MODULE:
            self._module(pool, version)
        elif not name.startswith("linux-headers-"):
            super()._package(pool, name, version, files, postinst, links)

    def _module(self, pool: Path, version: str) -> None:
        root = self.directory / "build"
        shutil.rmtree(root, ignore_errors=True)
        source, dkms = map(_download, RELEASES[version.partition("-")[0]].files.items())
        for deb in (source, dkms):
            _run("dpkg-deb", "-x", deb, root)
        _run("dpkg-deb", "-e", dkms, root / "DEBIAN")
        _as_nvidia_builds(next(root.glob("usr/src/*/dkms.conf")))
        (root / "DEBIAN" / "md5sums").unlink()
        (root / "DEBIAN" / "control").write_text(
            f"Package: {MODULE}\nVersion: {version}\nArchitecture: amd64\nDepends: dkms\n"
            "Maintainer: Test <test@example.org>\nDescription: NVIDIA's modules, to be built\n"
        )
        _run("dpkg-deb", "-Zgzip", "--root-owner-group", "--build", root, pool)


def add_cards(host: Host, count: int) -> str:
    """Put cards and Debian's kernel into a host; returns that kernel's name."""
    host.run("apt-get update -q")
    depends = host.run("apt-cache depends linux-headers-amd64")
    kernel = depends.partition("linux-headers-")[2].partition("Depends: linux-headers-")[2]
    kernel = kernel.split()[0]
    # what a kernel has on disk, but for its modules
    host.run(f"cd /lib && mkdir -p modules/{kernel} && cd modules/{kernel} && "
             "touch modules.builtin modules.order")  # fmt: skip
    uname = "/usr/local/bin/uname"
    host.run(f"cat >{uname} && chmod 755 {uname}", UNAME.replace("KERNEL", kernel))
    values = {"vendor": "0x10de", "device": DEVICE, "class": "0x030200"}
    start_hardware(host, count, values, {
        "fake-hardware": HARDWARE,
        "modprobe": MODPROBE.replace("KERNEL", kernel),
        "modinfo": MODINFO.replace("KERNEL", kernel),
    })  # fmt: skip
    return kernel


def _as_nvidia_builds(config: Path) -> None:
    """Let NVIDIA's Makefile find kernel and compiler: Ubuntu's words for that are Ubuntu's alone.

    In ``kernel/dkms.conf`` of NVIDIA's own packages stands ``'make' -j4 KERNEL_UNAME=.. modules``.
    """
    text = config.read_text()
    for words in ("[ ! -h /usr/bin/cc ] && export CC=/usr/bin/gcc;", "SYSSRC=$kernel_source_dir"):
        assert words in text, text
        text = text.replace(words, "")
    config.write_text(text)


def _download(file: tuple[str, str]) -> Path:
    """A package of Ubuntu's archive; it is kept."""
    name, digest = file
    place = DOWNLOADS / name
    if place.exists() and hashlib.sha256(place.read_bytes()).hexdigest() == digest:
        return place
    DOWNLOADS.mkdir(parents=True, exist_ok=True)
    for archive in ARCHIVES:
        reply = httpx.get(f"{archive}/{POOL}/{name}", timeout=300)
        if reply.status_code == httpx.codes.OK:
            assert hashlib.sha256(reply.content).hexdigest() == digest, f"{name} is another file"
            place.write_bytes(reply.content)
            return place
    raise AssertionError(f"no archive of Ubuntu has {name}")


def _run(*command: str | Path) -> None:
    subprocess.run([*map(str, command)], check=True, capture_output=True)
