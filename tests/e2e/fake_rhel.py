"""A Debian host that takes itself for RHEL 9, with the real dnf and rpm, and repositories for it.

What is made up: os-release, what ``uname -r`` says, and that there is no dpkg. dnf, rpm, module
streams, locks and signatures are real; the packages have the names of NVIDIA's and are small.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from tests.e2e import fake_driver
from tests.e2e.fake_driver import BUILT, CTK, PERSISTENCED, REFRESH
from tests.e2e.hosts import Host, build_host_image, docker
from tests.fake_smi import SMI
from tests.gpg import gpg

KERNEL = "5.14.0-570.el9.x86_64"
NEXT_KERNEL = "5.14.0-611.el9.x86_64"
DOCKERFILE = """
FROM {base}
RUN apt-get update -q \\
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \\
      dnf dnf-plugins-core createrepo-c rpm gnupg curl
"""
OS_RELEASE = """NAME="Rocky Linux"
PRETTY_NAME="Rocky Linux 9.6 (Blue Onyx)"
ID="rocky"
ID_LIKE="rhel centos fedora"
VERSION_ID="9.6"
PLATFORM_ID="platform:el9"
"""
# as RHEL 9 has it; Debian's own differs in the last two
DNF = """[main]
gpgcheck=1
installonly_limit=3
clean_requirements_on_remove=True
best=True
skip_if_unavailable=False
"""
UNAME = f"""#!/bin/sh
if [ "$*" = -r ]; then echo {KERNEL}; else exec /usr/bin/uname "$@"; fi
"""
HIDDEN = "/usr/bin/dpkg-query /usr/bin/dpkg /usr/bin/apt-get /usr/bin/apt-mark " \
    "/usr/lib/apt/apt-helper /usr/sbin/update-initramfs"  # fmt: skip
SPEC = """
Name: {name}
Version: {version}
Release: {release}
Epoch: {epoch}
Summary: made up for a test
License: MIT
AutoReq: no
{requires}
%description
Made up for a test.
%install
{install}
{post}
%files
{files}
"""
MODULES = """---
document: modulemd
version: 2
data:
  name: nvidia-driver
  stream: "{stream}"
  version: {number}
  context: {context}
  arch: x86_64
  summary: made up for a test
  description: made up for a test
  license: {{module: [MIT]}}
  profiles: {{default: {{rpms: [nvidia-driver-cuda]}}}}
  artifacts:
    rpms: [{rpms}]
...
"""
DRIVER = ("kmod-nvidia-open-dkms", "nvidia-driver-cuda", "nvidia-persistenced")
LIBRARY = "libnvidia-ml"
"""Comes with the driver, and is asked for by nothing else."""
TOOLKIT = fake_driver.TOOLKIT


def build_image() -> str:
    """A host with dnf; returns its tag."""
    dockerfile = DOCKERFILE.format(base=build_host_image(with_docker=False))
    image = f"atelier-test/rhel:{hashlib.sha256(dockerfile.encode()).hexdigest()[:8]}"
    if not docker("image", "ls", "-q", image):
        docker("image", "build", "--quiet", "--network=host", "--tag", image, "-", stdin=dockerfile)
    return image


def become_rhel(host: Host) -> None:
    """From now on the host takes itself for RHEL 9."""
    for path, text in {
        "/etc/os-release": OS_RELEASE, "/etc/dnf/dnf.conf": DNF, "/etc/dnf/vars/releasever": "9\n",
        "/usr/local/bin/uname": UNAME, "/etc/dnf/plugins/local.conf": "[main]\nenabled=0\n",
    }.items():  # fmt: skip
        host.run(f"mkdir -p $(dirname {path}); rm -f {path}; cat >{path}", text)
    host.run("chmod 755 /usr/local/bin/uname; mkdir -p /etc/yum.repos.d; ln -sf bash /bin/sh")
    host.run(f"for p in {HIDDEN}; do [ ! -e $p ] || mv $p $p.hidden; done")


class Repositories:
    """NVIDIA's repositories and EPEL, in directories of the host."""

    ROOT = "/srv/repos"

    def __init__(self, host: Host, directory: Path) -> None:
        self.host = host
        self.directory = directory
        self.fingerprint = ""
        self.streams: dict[str, list[str]] = {}

    @property
    def driver(self) -> str:
        return f"{self.ROOT}/rhel9/x86_64"

    def settings(self) -> dict[str, str]:
        """What is declared of them."""
        return {
            "repository": f"file://{self.ROOT}",
            "key_fingerprint": self.fingerprint,
            "toolkit_repository": f"file://{self.ROOT}/toolkit",
            "toolkit_key_fingerprint": self.fingerprint,
        }

    def new_key(self) -> None:
        """Sign packages with a key that was never there before; those that are there stay."""
        home = self.directory / f"gnupg-{len(list(self.directory.glob('gnupg-*')))}"
        home.mkdir(mode=0o700)
        name = "Test <test@example.org>"
        gpg(home, "--passphrase", "", "--quick-generate-key", name, "rsa2048", "sign", "never")
        listed = gpg(home, "--with-colons", "--list-keys").splitlines()
        self.fingerprint = next(line.split(":")[9] for line in listed if line.startswith("fpr"))
        secret = gpg(home, "--armor", "--export-secret-keys")
        self.host.run("rm -rf /root/.gnupg; gpg --batch --quiet --import", secret)
        public = gpg(home, "--armor", "--export")
        for place in (f"{self.driver}/D42D0685.pub", f"{self.ROOT}/toolkit/gpgkey"):
            self.host.run(f"mkdir -p $(dirname {place}); cat >{place}", public)

    def publish(self, version: str) -> None:
        """One version of the driver, in the streams of its branch."""
        branch = version.partition(".")[0]
        built = f"mkdir -p $(dirname {BUILT}); echo {version} >{BUILT}"
        kmod = f"nvidia-kmod = 3:{version}"
        closed = self._package(self.driver, "kmod-nvidia-latest-dkms", version, epoch=3,
                               post=built, requires="dkms", provides=kmod,
                               conflicts="kmod-nvidia-open-dkms")  # fmt: skip
        both = [
            self._package(self.driver, LIBRARY, version, epoch=3),
            self._package(self.driver, "nvidia-driver-cuda", version, epoch=3,
                          files={"/usr/bin/nvidia-smi": SMI.replace("@VERSION@", version)},
                          requires=f"{kmod}, nvidia-persistenced = 3:{version}, "
                                   f"{LIBRARY} = 3:{version}"),
            self._package(self.driver, "nvidia-persistenced", version, epoch=3,
                          files={"/usr/lib/systemd/system/nvidia-persistenced.service":
                                 PERSISTENCED}),
        ]  # fmt: skip
        opened = self._package(self.driver, "kmod-nvidia-open-dkms", version, epoch=3,
                               post=built, requires="dkms", provides=kmod)  # fmt: skip
        for stream, module in (("open", opened), ("dkms", closed)):
            self.streams.setdefault(f"{branch}-{stream}", []).extend([*both, module])
        self.index()

    def publish_others(self) -> None:
        """Headers of two kernels, dkms of EPEL, and the container toolkit."""
        for kernel in (KERNEL, NEXT_KERNEL):
            number, _, release = kernel.removesuffix(".x86_64").partition("-")
            for name in ("kernel-devel", "kernel-devel-matched"):
                provides = "installonlypkg(kernel)" if name == "kernel-devel" else ""
                self._package(
                    f"{self.ROOT}/base",
                    name,
                    number,
                    release=release,
                    arch="x86_64",
                    provides=provides,
                )
        self._package(f"{self.ROOT}/base", "bash", "5.1.8", provides="/bin/sh")
        self._package(f"{self.ROOT}/epel", "dkms", "3.2.1")
        epel = f"[epel]\nname=EPEL\nbaseurl=file://{self.ROOT}/epel\ngpgcheck=0\n"
        self._package(f"{self.ROOT}/base", "epel-release", "9", files={
            "/etc/yum.repos.d/epel.repo": epel,
        })  # fmt: skip
        unit_file = "/usr/lib/systemd/system/nvidia-cdi-refresh.service"
        for name in TOOLKIT:
            is_base = name == TOOLKIT[1]
            self._package(f"{self.ROOT}/toolkit/stable/rpm/x86_64", name, "1.20.0", release="1",
                          files={"/usr/bin/nvidia-ctk": CTK, unit_file: REFRESH} if is_base else {},
                          post="systemctl enable -q nvidia-cdi-refresh.service" if is_base else "",
                          )  # fmt: skip
        for place in ("base", "epel", "toolkit/stable/rpm/x86_64"):
            self.host.run(f"createrepo_c -q {self.ROOT}/{place}")
        base = f"[base]\nname=BaseOS\nbaseurl=file://{self.ROOT}/base\ngpgcheck=0\n"
        self.host.run("cat >/etc/yum.repos.d/base.repo", base)

    def withdraw(self, name: str) -> None:
        """Have a package no longer."""
        self.host.run(f"rm {self.driver}/{name}-*.rpm")
        self.index()

    def index(self) -> None:
        """Write the indices, with the streams of the module."""
        self.host.run(f"createrepo_c -q {self.driver}")
        text = "".join(
            MODULES.format(stream=stream, number=number, context=f"c{number}",
                           rpms=", ".join(f'"{rpm}"' for rpm in dict.fromkeys(rpms)))
            for number, (stream, rpms) in enumerate(self.streams.items(), start=1)
        )  # fmt: skip
        self.host.run("cat >/srv/modules.yaml", text)
        self.host.run(f"modifyrepo_c --mdtype=modules /srv/modules.yaml {self.driver}/repodata")

    def _package(
        self,
        place: str,
        name: str,
        version: str,
        *,
        release: str = "1.el9",
        epoch: int = 0,
        arch: str = "noarch",
        files: dict[str, str] | None = None,
        post: str = "",
        requires: str = "",
        provides: str = "",
        conflicts: str = "",
    ) -> str:
        """Make and sign a package; returns what a module's list calls it."""
        install = [
            f"mkdir -p %{{buildroot}}$(dirname {path})\n"
            f"cat >%{{buildroot}}{path} <<'end-of-file'\n{text.replace('%', '%%')}end-of-file\n"
            f"chmod 755 %{{buildroot}}{path}"
            for path, text in (files or {}).items()
        ]
        lines = {"Provides": provides, "Requires": requires, "Conflicts": conflicts}
        spec = SPEC.format(
            name=name, version=version, release=release, epoch=epoch,
            requires="\n".join(f"{tag}: {text}" for tag, text in lines.items() if text),
            install="\n".join(install), post=f"%post\n{post}" if post else "",
            files="\n".join(files or {}),
        )  # fmt: skip
        self.host.run(
            f"mkdir -p {place} && cat >/srv/{name}.spec && rpmbuild -bb --quiet --target {arch} "
            f"--define '_rpmdir {place}' --define '_rpmfilename %{{name}}-%{{version}}-"
            f"%{{release}}.%{{arch}}.rpm' /srv/{name}.spec && "
            f"rpmsign --addsign --define '__gpg /usr/bin/gpg' "
            f"--define '_gpg_name {self.fingerprint}' "
            f"{place}/{name}-{version}-{release}.{arch}.rpm",
            spec,
        )
        return f"{name}-{epoch}:{version}-{release}.{arch}"
