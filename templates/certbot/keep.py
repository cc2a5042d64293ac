"""Keeps the entry's certificate: has it issued and renewed by Certbot, and gives it to HAProxy.

python3 keep.py, in a container of Certbot's image with these mounts:

    /etc/atelier          settings.json; first.pem, what the entry serves until there is another;
                          account.ini where the authority wants to know the site
    /etc/letsencrypt      what Certbot keeps; report.json, what came of it
    /certificates         entry.pem, which HAProxy serves with, and each HAProxy's runtime socket

SIGUSR1 lets it try at once. Certbot: https://eff-certbot.readthedocs.io/en/stable/using.html
"""

from __future__ import annotations

import hashlib
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA1

CONFIG, STATE, SERVED = Path("/etc/atelier"), Path("/etc/letsencrypt"), Path("/certificates")
SHOWN = SHA1()  # noqa: S303 - what HAProxy shows of a certificate
TICK_SECONDS = 1
LONGEST_PAUSE_SECONDS = 12 * 3600
LOOKS = 50
"""How often Certbot looks in the life of a certificate; at least twice a day."""
SHORT_SECONDS = 60 * 86400
"""Certificates that last less are left alone for half of that: Certbot 4.0 renews all that end
within 30 days (https://github.com/certbot/certbot/blob/main/certbot/CHANGELOG.md, 4.1.0)."""
FIRST_PAUSE_SECONDS = 120
"""After a failure, doubled by each other one: Let's Encrypt takes 5 in an hour
(https://letsencrypt.org/docs/rate-limits/#authorization-failures-per-identifier-per-account)."""
CERTBOT_SECONDS = 300
LONGEST_REASON = 600
CHALLENGE = re.compile(
    r"(?:Domain|Identifier): *(\S+)\n *Type: *(\S+)\n *Detail: *(.+?)"
    r"(?=\n *\n|\n *(?:Domain|Identifier):|\Z)",
    re.DOTALL,
)
ERROR = re.compile(r"An unexpected error occurred:\n(.+?)(?=\nAsk for help|\Z)", re.DOTALL)
NOISE = ("Saving debug log", "Ask for help", "Some challenges have failed", "See the logfile")


@dataclass(frozen=True)
class Report:
    """What came of it, for whoever asks; times in seconds since the epoch."""

    settings: str = ""
    """Digest of the settings that it is about."""
    issued: bool = False
    """Whether there is a certificate of the declared authority for exactly the declared names."""
    ends: float | None = None
    """When it ends."""
    tried: float | None = None
    """When Certbot ran last."""
    failures: int = 0
    """How often it failed since it last did not."""
    reason: str = ""
    """Why it failed."""
    again: float = 0
    """When it runs again."""


@dataclass
class Keeper:
    """Everything that is kept between two rounds."""

    config: Path = CONFIG
    state: Path = STATE
    served: Path = SERVED
    run: Callable[..., subprocess.CompletedProcess[str]] = subprocess.run
    now: Callable[[], float] = time.time
    asked: bool = False
    """Whether to try at once."""
    refused: str = ""
    """Fingerprint of a certificate that HAProxy did not take."""
    report: Report = field(default_factory=Report)

    def __post_init__(self) -> None:
        self.settings: dict[str, Any] = json.loads(
            (self.config / "settings.json").read_text("utf-8")
        )
        digest = self._digest()
        self.report = self._read_report()
        # failures with other settings say nothing about these
        if self.report.settings != digest:
            self.report = Report(settings=digest)
        self._look_at_what_there_is()

    def _digest(self) -> str:
        """Of what is asked for, as whom, and which authorities are trusted."""
        files = [path for path in sorted(self.config.iterdir()) if path.is_file()]
        parts = [path.read_bytes() for path in files if path.name != "first.pem"]
        return hashlib.sha256(b"\n".join(parts)).hexdigest()[:16]

    @property
    def lineage(self) -> str:
        """What Certbot calls the certificate: another authority means another one."""
        return f"entry-{hashlib.sha256(self.settings['directory'].encode()).hexdigest()[:8]}"

    @property
    def pem(self) -> Path:
        """What HAProxy serves with."""
        return self.served / "entry.pem"

    def round(self) -> None:
        """One look at everything."""
        if not self._is_handed_over():
            return
        if self.asked or self.now() >= self.report.again:
            self.asked = False
            self._try()
            self._look_at_what_there_is()
            self._is_handed_over()

    def _try(self) -> None:
        try:
            done = self.run(
                self._command(), capture_output=True, text=True, timeout=CERTBOT_SECONDS
            )
            reason = explain(done.stdout + "\n" + done.stderr) if done.returncode else ""
        except subprocess.TimeoutExpired:
            reason = f"Certbot did not end within {CERTBOT_SECONDS} s"
        failures = self.report.failures + 1 if reason else 0
        self.report = replace(self.report, tried=self.now(), failures=failures, reason=reason)
        say(f"failed: {reason}" if reason else "Certbot has nothing more to do")

    def _command(self) -> list[str]:
        settings = self.settings
        account = self.config / "account.ini"
        email = settings["email"]
        return [
            *("certbot", "certonly", "--non-interactive", "--agree-tos", "--standalone"),
            *("--http-01-port", str(settings["port"]), "--server", settings["directory"]),
            *("--cert-name", self.lineage, "--keep-until-expiring", "--renew-with-new-domains"),
            *("--key-type", "ecdsa", "--max-log-backups", "0"),
            *(("--email", email, "--no-eff-email") if email else ()),
            *(() if email else ("--register-unsafely-without-email",)),
            *(("--config", str(account)) if account.exists() else ()),
            *(part for name in settings["names"] for part in ("--domain", name)),
        ]

    def _look_at_what_there_is(self) -> None:
        """Let HAProxy have the best certificate there is, and report on it."""
        pem, report = self._issued(), self.report
        if pem:
            self._install(pem)
        elif not self._serves_an_issued_one():
            self._install((self.config / "first.pem").read_text("utf-8"))
        names, starts, ends = read(pem) if pem else (set[str](), None, None)
        again = next_try(report.tried, report.failures, starts, ends) if report.tried else 0
        is_issued = names == set(self.settings["names"])
        self._write_report(replace(report, issued=is_issued, ends=ends, again=again))

    def _issued(self) -> str:
        """The declared authority's certificate with its key; empty if there is none."""
        folder = self.state / "live" / self.lineage
        try:
            parts = [
                (folder / f"{name}.pem").read_text("utf-8") for name in ("fullchain", "privkey")
            ]
        except FileNotFoundError:
            return ""
        return "".join(parts)

    def _serves_an_issued_one(self) -> bool:
        """Whether what is served was issued by an authority that was declared before."""
        if not self.pem.exists():
            return False
        served = self.pem.read_text("utf-8")
        return any(
            path.read_text("utf-8") in served for path in self.state.glob("live/*/fullchain.pem")
        )

    def _install(self, pem: str) -> None:
        text = "".join(line for line in pem.splitlines(keepends=True) if line.strip())
        if not self.pem.exists() or self.pem.read_text("utf-8") != text:
            write(self.pem, text)

    def _is_handed_over(self) -> bool:
        """Let HAProxy serve what is in the file; whether one answers at all.

        There are two while one is replaced.
        """
        have_it = [self._hand_over(path) for path in sorted(self.served.glob("haproxy*.sock"))]
        return any(have_it)

    def _hand_over(self, path: Path) -> bool:
        text = self.pem.read_text("utf-8")
        fingerprint = x509.load_pem_x509_certificate(text.encode()).fingerprint(SHOWN).hex()
        shown = ask(path, f"show ssl cert {self.pem}\n")
        if not shown:
            return False
        if fingerprint not in shown.lower() and fingerprint != self.refused:
            # connections that are open go on with the one before
            answers = ask(path, f"set ssl cert {self.pem} <<\n{text}\n")
            answers += ask(path, f"commit ssl cert {self.pem}\n")
            say(" ".join(answers.split()))
            self.refused = "" if "Success!" in answers else fingerprint
        return True

    def _read_report(self) -> Report:
        try:
            return Report(**json.loads((self.state / "report.json").read_text("utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return Report()

    def _write_report(self, report: Report) -> None:
        self.report = report
        write(self.state / "report.json", json.dumps(asdict(report)) + "\n")


def ask(path: Path, command: str) -> str:
    """What a HAProxy's runtime interface answers; empty if it does not.

    The socket of one that has ended is removed. https://docs.haproxy.org/3.0/management.html#9.3
    """
    try:
        with socket.socket(socket.AF_UNIX) as way:
            way.settimeout(10)
            way.connect(str(path))
            way.sendall(command.encode())
            return b"".join(iter(lambda: way.recv(65536), b"")).decode()
    except ConnectionRefusedError:
        path.unlink(missing_ok=True)
        return ""
    except OSError:
        return ""


def next_try(
    tried: float, failures: int, starts: float | None = None, ends: float | None = None
) -> float:
    """When Certbot runs again; all times in seconds since the epoch.

    Args:
        tried: when it ran last.
        failures: how often it failed since it last did not.
        starts: when the certificate starts, if there is one.
        ends: when it ends.
    """
    starts = starts or 0
    life = ends - starts if ends else None
    look = min(LONGEST_PAUSE_SECONDS, life / LOOKS) if life else LONGEST_PAUSE_SECONDS
    if failures:
        doubled = FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 10)
        return tried + min(doubled, LONGEST_PAUSE_SECONDS, look * 5)
    if life and life < SHORT_SECONDS:
        return max(tried + look, starts + life / 2)
    return tried + look


def read(pem: str) -> tuple[set[str], float, float]:
    """The names of a certificate, and when it starts and ends, in seconds since the epoch."""
    certificate = x509.load_pem_x509_certificate(pem.encode())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    starts, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return set(names.get_values_for_type(x509.DNSName)), starts.timestamp(), ends.timestamp()


def explain(output: str) -> str:
    """Why Certbot failed, in the authority's words, in one line.

    Args:
        output: what Certbot printed.
    """
    challenges = [f"{name}: {detail} ({kind})" for name, kind, detail in CHALLENGE.findall(output)]
    found = ERROR.search(output)
    lines = [line for line in output.splitlines() if line.strip() and not line.startswith(NOISE)]
    reason = "; ".join(challenges) or (found[1] if found else "\n".join(lines[-3:]))
    return " ".join(reason.split())[:LONGEST_REASON] or "Certbot failed and said nothing"


def write(path: Path, text: str) -> None:
    """Write a file for its owner alone, whole or not at all."""
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    new.write_text(text, "utf-8")
    new.replace(path)


def say(text: str) -> None:
    """A line of the log."""
    print(text, flush=True)  # noqa: T201 - the log of a container


def main() -> NoReturn:
    """Look at everything, again and again."""
    keeper = Keeper()

    def try_at_once(*_: object) -> None:
        keeper.asked = True

    signal.signal(signal.SIGUSR1, try_at_once)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    while True:
        keeper.round()
        time.sleep(TICK_SECONDS)


if __name__ == "__main__":
    main()
