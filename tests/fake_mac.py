"""A Mac to run shell scripts on: its own programs (tests/scripts/mac), and POSIX's of this machine.

What a Mac does not have, such as sha256sum, flock or systemctl, is not there either.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from deploy.scripts import read_script

OWN = Path(__file__).parent / "scripts" / "mac"
POSIX = (
    *(
        "awk",
        "base64",
        "basename",
        "cat",
        "chmod",
        "cp",
        "cut",
        "dd",
        "dirname",
        "du",
        "env",
        "find",
    ),
    *("grep", "gzip", "head", "ln", "ls", "mkdir", "mktemp", "mv", "printf", "readlink", "rm"),
    *("rmdir", "sed", "seq", "sh", "sort", "tail", "tar", "touch", "tr", "wc"),
)
PLACES = {"/etc/atelier/services": "services", "/Library/LaunchDaemons": "LaunchDaemons"}
"""Where scripts keep things, and what that is called below the Mac's directory."""
SETTINGS = {
    "accounts": "root\nollama\n",
    "chip": "Apple M3 Ultra\n",
    "memory": f"{256 * 1024**3}\n",
    "limit": "0\n",
    "power": "sleep 1\ndisksleep 10\nwomp 1\nautorestart 0\n",
    "filevault": "FileVault is Off.\n",
    "sockets": "tcp4       0      0  *.22                   *.*                    LISTEN\n",
}


@dataclass
class FakeMac:
    """The Mac, whose state is a directory."""

    directory: Path

    def __post_init__(self) -> None:
        for folder in ("services", "LaunchDaemons", "bin"):
            (self.directory / folder).mkdir(parents=True)
        for name, text in SETTINGS.items():
            (self.directory / name).write_text(text)
        (self.directory / "log").touch()
        for tool in POSIX:
            (self.directory / "bin" / tool).symlink_to(f"/usr/bin/{tool}")

    def here(self, text: str) -> str:
        """A script with the places of this Mac."""
        for place, folder in PLACES.items():
            text = text.replace(place, str(self.directory / folder))
        return text

    def shell(
        self, text: str, *arguments: str, stdin: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a script there."""
        (self.directory / "changes").write_text("")
        return subprocess.run(
            ["/bin/sh", "-c", self.here(text), "atelier", *arguments],
            env={
                "PATH": f"{OWN}:{self.directory / 'bin'}",
                "TMPDIR": str(self.directory),
                "FAKE_MAC": str(self.directory),
                **environment,
            },
            input=stdin,
            capture_output=True,
            text=True,
            start_new_session=True,
            timeout=60,
        )

    def script(
        self, filename: str, *arguments: str, stdin: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run one of Atelier's scripts there."""
        return self.shell(read_script(filename), *arguments, stdin=stdin, **environment)

    def names(self, folder: str) -> set[str]:
        """What is in a directory of its state."""
        path = self.directory / folder
        return {each.name for each in path.iterdir()} if path.is_dir() else set()

    @property
    def log(self) -> list[str]:
        """What its programs were told."""
        return (self.directory / "log").read_text().splitlines()
