"""A stand-in for a Mac: a Debian host whose own programs come after some of macOS'.

They answer as documented and fail on anything else: those of tests/scripts/mac, and a launchctl
that has systemd run what stands in property lists. GNU's tools, which Macs have not, are put away.
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from tests.e2e.hosts import Host
from tests.e2e.llama_archive import make_archive as linux_archive

OWN = Path(__file__).parent / "mac"
PROGRAMS = Path(__file__).parents[1] / "scripts" / "mac"
SHARED = ("pmset", "sw_vers", "sysctl", "uname", "shasum", "stat", "netstat", "fdesetup")
"""Those that know nothing of the directory that unit tests have."""
MISSING = ("sha256sum", "flock", "timeout", "getent")
STATE, AWAY = "/fake-mac", "/opt/linux"
SETTINGS = {
    "accounts": "root\nollama\n",
    "chip": "Apple M3 Ultra\n",
    "memory": f"{256 * 1024**3}\n",
    "limit": "0\n",
    "power": "sleep 1\ndisksleep 10\nautorestart 0\n",
    "filevault": "FileVault is Off.\n",
    "sockets": "tcp4       0      0  *.22                   *.*                    LISTEN\n",
}


BREW = "/opt/homebrew/bin"
PACKAGES = ("curl", "haproxy")
"""What a Mac has, or is given by Homebrew."""


def make_mac(host: Host) -> None:
    """Let a Debian host answer as a Mac; its HAProxy is Debian's, where Homebrew would put one."""
    host.run(f"apt-get update -q && apt-get install -y -q {' '.join(PACKAGES)}")
    host.run("systemctl disable --now haproxy")
    host.run(f"mkdir -p {BREW} && ln -s /usr/sbin/haproxy {BREW}/haproxy")
    missing = " ".join(f"/usr/bin/{name}" for name in MISSING)
    host.run(f"mkdir {AWAY} && mv {missing} {AWAY}")
    for name in SHARED:
        first, rest = (PROGRAMS / name).read_text().split("\n", 1)
        text = f"{first}\nFAKE_MAC={STATE}\n{rest}"
        _install(host, name, text.replace("/usr/bin/sha256sum", f"{AWAY}/sha256sum"))
    _install(host, "launchctl", (OWN / "launchctl").read_text())
    host.run("cp /usr/local/bin/sysctl /usr/sbin/sysctl")
    host.run("groupadd --force wheel && useradd --system --shell /usr/sbin/nologin ollama")
    host.run(f"mkdir -p {STATE} /Library/LaunchDaemons")
    for name, text in SETTINGS.items():
        host.run(f"cat >{STATE}/{name}", stdin=text)


def _install(host: Host, name: str, text: str) -> None:
    host.run(f"cat >/usr/local/bin/{name} && chmod 755 /usr/local/bin/{name}", stdin=text)


def make_archive(path: Path, version: str) -> None:
    """An archive of the shape that Ollama's has for macOS: the program, and a library."""
    program = (OWN / "ollama").read_text().replace("version=VERSION", f"version={version}")
    with tarfile.open(path, "w:gz") as target:
        for name, text in (("ollama", program), ("libggml.dylib", "x")):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(text), 0o755 if name == "ollama" else 0o644
            target.addfile(member, io.BytesIO(text.encode()))


def make_llama_archive(path: Path, version: str) -> None:
    """llama-server of this machine, which is told of Metal as the one for macOS is."""
    linux_archive(path, version, start=(OWN / "llama-server").read_text())
