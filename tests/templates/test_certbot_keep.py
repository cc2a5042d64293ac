"""The program that keeps the entry's certificate, between a Certbot and an HAProxy of the tests."""

from __future__ import annotations

import importlib.util
import json
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from deploy.render import TEMPLATES
from deploy.tls.acme import Renewal
from deploy.tls.authority import issue, make_authority
from deploy.tls.pair import Pair

NAMES = ["ai.lab.example", "chat.lab.example"]
SETTINGS = {"directory": "https://ca.lab/dir", "email": None, "names": NAMES, "port": 8080}
AUTHORITY = make_authority("tests", datetime.now(UTC))
DAY = 86400
FAILED = """Saving debug log to /var/log/letsencrypt/letsencrypt.log
Requesting a certificate for ai.lab.example and chat.lab.example

Certbot failed to authenticate some domains (authenticator: standalone). The Certificate \
Authority reported these problems:
  Domain: ai.lab.example
  Type:   dns
  Detail: DNS problem: NXDOMAIN looking up A for ai.lab.example - check that a
DNS record exists for this domain

  Domain: chat.lab.example
  Type:   connection
  Detail: 192.0.2.7: Fetching http://chat.lab.example/.well-known/acme-challenge/x: \
Connection refused

Hint: The Certificate Authority failed to download the challenge files.

Some challenges have failed.
Ask for help or search for solutions at https://community.letsencrypt.org. See the logfile /var/log
"""
REFUSED = """Saving debug log to /var/log/letsencrypt/letsencrypt.log
An unexpected error occurred:
JWS has an invalid anti-replay nonce :: nonce "x" is not known
Ask for help or search for solutions at https://community.letsencrypt.org. See the logfile /var/log
"""


@pytest.fixture(scope="module")
def keep() -> Any:
    """The program, loaded from its file."""
    spec = importlib.util.spec_from_file_location("keep", TEMPLATES / "certbot" / "keep.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["keep"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["keep"]


class Certbot:
    """Writes where Certbot does, or fails."""

    def __init__(self, state: Path) -> None:
        self.state, self.commands = state, list[list[str]]()
        self.output, self.ends = "", True

    def __call__(self, command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        self.commands.append(command)
        if not self.ends:
            raise subprocess.TimeoutExpired(command, 300)
        if not self.output:
            names = [value for flag, value in pairwise(command) if flag == "--domain"]
            pair = issue(AUTHORITY, names, datetime.now(UTC))
            folder = self.state / "live" / command[command.index("--cert-name") + 1]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "fullchain.pem").write_text(pair.certificate + AUTHORITY.certificate)
            (folder / "privkey.pem").write_text(pair.key)
        return subprocess.CompletedProcess(command, bool(self.output), "", self.output)


class HAProxy(socketserver.ThreadingUnixStreamServer):
    """Knows one certificate, as the runtime interface of the real one shows and takes it."""

    def __init__(self, folder: Path, name: str = "haproxy-1.sock") -> None:
        self.file = folder / "entry.pem"
        self.serves, self.next = self.file.read_text(), ""
        self.changes, self.takes = 0, True
        super().__init__(str(folder / name), Runtime)


class Runtime(socketserver.StreamRequestHandler):
    server: HAProxy

    def handle(self) -> None:
        command = self.rfile.readline().decode()
        text = ""
        if command == f"show ssl cert {self.server.file}\n":
            certificate = x509.load_pem_x509_certificate(self.server.serves.encode())
            shown = certificate.fingerprint(hashes.SHA1()).hex().upper()  # noqa: S303
            text = f"Filename: {self.server.file}\nSHA1 FingerPrint: {shown}\n"
        elif command == f"set ssl cert {self.server.file} <<\n":
            lines = iter(lambda: self.rfile.readline().decode(), "\n")
            self.server.next = "".join(lines)
            text = "Transaction created for certificate!\n"
        elif command == f"commit ssl cert {self.server.file}\n":
            if self.server.takes:
                self.server.serves, self.server.changes = self.server.next, self.server.changes + 1
            text = "Committing\nSuccess!\n" if self.server.takes else "Failed!\n"
        self.wfile.write(f"{text}\n".encode())


class Place:
    """The mounts, and the clock."""

    def __init__(self, keep: Any, path: Path) -> None:
        self.keep, self.path, self.time = keep, path, datetime.now(UTC).timestamp()
        self.config, self.state, self.served = (
            path / name for name in ("config", "state", "served")
        )
        for folder in (self.config, self.state, self.served):
            folder.mkdir()
        self.certbot = Certbot(self.state)
        self.first = pem(issue(AUTHORITY, ["first"], datetime.now(UTC)))
        (self.config / "first.pem").write_text(self.first)
        self.declare()

    def declare(self, **settings: Any) -> None:
        (self.config / "settings.json").write_text(json.dumps(SETTINGS | settings))

    def keeper(self) -> Any:
        places = (self.config, self.state, self.served)
        return self.keep.Keeper(*places, self.certbot, lambda: self.time)

    @property
    def pem(self) -> str:
        return (self.served / "entry.pem").read_text()

    @property
    def report(self) -> Renewal:
        return Renewal.parse((self.state / "report.json").read_text())

    def haproxy(self, name: str = "haproxy-1.sock") -> HAProxy:
        server = HAProxy(self.served, name)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return server


def pem(pair: Pair) -> str:
    return pair.certificate + pair.key


@pytest.fixture
def place(keep: Any, tmp_path: Path) -> Place:
    return Place(keep, tmp_path)


@pytest.fixture
def haproxy(place: Place) -> Iterator[HAProxy]:
    place.keeper()
    server = place.haproxy()
    yield server
    server.shutdown()
    server.server_close()


def test_the_entry_can_start_before_anything_was_issued(place: Place) -> None:
    place.keeper().round()
    assert place.pem == place.first
    assert (place.served / "entry.pem").stat().st_mode & 0o777 == 0o600
    assert place.certbot.commands == []
    assert place.report.problem == "not issued yet"


def test_it_is_issued_and_handed_over(place: Place, haproxy: HAProxy) -> None:
    place.keeper().round()
    assert (haproxy.changes, haproxy.serves) == (1, place.pem)
    assert "ai.lab.example" not in place.first
    assert place.report.problem == ""
    # issued for 396 days, in the second after it was asked for or in a later one
    assert place.report.days_left(place.time + 60) == 395
    [command] = place.certbot.commands
    assert command[:2] == ["certbot", "certonly"]
    assert command[-4:] == ["--domain", NAMES[0], "--domain", NAMES[1]]
    assert "--register-unsafely-without-email" in command
    assert "--config" not in command


def test_who_asks(place: Place, haproxy: HAProxy) -> None:
    place.declare(email="admin@lab.example")
    (place.config / "account.ini").write_text("eab-hmac-key = secret")
    place.keeper().round()
    [command] = place.certbot.commands
    assert command[command.index("--email") + 1] == "admin@lab.example"
    assert command[command.index("--config") + 1] == str(place.config / "account.ini")
    assert "secret" not in " ".join(command)


@pytest.mark.parametrize("name", ["account.ini", "authorities.pem"])
def test_a_failure_without_an_account_says_nothing_about_one(
    place: Place, haproxy: HAProxy, name: str
) -> None:
    place.certbot.output = REFUSED
    first = place.keeper()
    first.round()
    assert first.report.failures == 1
    assert place.keeper().report == first.report
    (place.config / name).write_text("another")
    second = place.keeper()
    assert (second.report.failures, second.report.tried) == (0, None)
    place.certbot.output = ""
    second.round()
    assert second.report.issued


def test_it_looks_twice_a_day(place: Place, haproxy: HAProxy) -> None:
    keeper = place.keeper()
    for hours, looks in ((0, 1), (11, 1), (2, 2), (11, 2), (2, 3)):
        place.time += hours * 3600
        keeper.round()
        assert len(place.certbot.commands) == looks


def test_a_restart_asks_nobody_before_it_is_time(place: Place, haproxy: HAProxy) -> None:
    place.keeper().round()
    place.keeper().round()
    assert len(place.certbot.commands) == 1


def test_an_entry_that_was_replaced_is_given_it_again(place: Place, haproxy: HAProxy) -> None:
    keeper = place.keeper()
    keeper.round()
    haproxy.serves = place.first
    keeper.round()
    assert (haproxy.changes, haproxy.serves) == (2, place.pem)


def test_both_are_given_it_while_one_takes_the_others_place(place: Place, haproxy: HAProxy) -> None:
    other = place.haproxy("haproxy-2.sock")
    place.keeper().round()
    assert {each.serves for each in (haproxy, other)} == {place.pem}
    other.shutdown()
    other.server_close()
    place.keeper().round()
    # nobody answers there any more
    assert [path.name for path in place.served.glob("*.sock")] == ["haproxy-1.sock"]


def test_what_failed_is_tried_less_and_less_often(place: Place, haproxy: HAProxy) -> None:
    place.certbot.output = FAILED
    keeper = place.keeper()
    for minutes, tries in ((0, 1), (1, 1), (1, 2), (3, 2), (1, 3), (7, 3), (1, 4)):
        place.time += minutes * 60
        keeper.round()
        assert len(place.certbot.commands) == tries
    assert place.pem == haproxy.serves == place.first
    assert place.report.failures == 4


def test_whoever_asks_lets_it_try_at_once(place: Place, haproxy: HAProxy) -> None:
    place.certbot.output = FAILED
    keeper = place.keeper()
    keeper.round()
    place.certbot.output, keeper.asked = "", True
    keeper.round()
    assert (place.report.issued, place.report.failures, keeper.asked) == (True, 0, False)


def test_failures_outlive_a_restart_but_not_another_declaration(
    place: Place, haproxy: HAProxy
) -> None:
    place.certbot.output = FAILED
    place.keeper().round()
    place.keeper().round()
    assert len(place.certbot.commands) == 1
    place.declare(names=NAMES[:1])
    place.keeper().round()
    assert len(place.certbot.commands) == 2


def test_what_was_issued_goes_on_where_more_is_refused(place: Place, haproxy: HAProxy) -> None:
    place.keeper().round()
    before = place.pem
    place.certbot.output = REFUSED
    for settings in (
        {"names": [*NAMES, "new.lab.example"]},
        {"directory": "https://other.lab/dir"},
    ):
        place.declare(**settings)
        place.keeper().round()
        assert place.pem == haproxy.serves == before
        assert not place.report.issued
        assert "anti-replay nonce" in place.report.problem


def test_a_renewal_that_fails_is_reported(place: Place, haproxy: HAProxy) -> None:
    keeper = place.keeper()
    keeper.round()
    place.certbot.output, keeper.asked = REFUSED, True
    keeper.round()
    assert place.report.issued
    assert place.report.problem.startswith("the last try to renew it failed: JWS has an invalid")


def test_another_authority_is_asked_for_a_certificate_of_its_own(
    place: Place, haproxy: HAProxy
) -> None:
    place.keeper().round()
    before = place.pem
    place.declare(directory="https://other.lab/dir")
    place.keeper().round()
    assert place.pem != before
    assert haproxy.serves == place.pem
    assert len(list((place.state / "live").iterdir())) == 2


def test_what_haproxy_does_not_take_is_offered_once(place: Place, haproxy: HAProxy) -> None:
    haproxy.takes = False
    keeper = place.keeper()
    keeper.round()
    haproxy.next = ""
    keeper.round()
    assert haproxy.next == ""
    assert haproxy.serves == place.first


def test_a_certbot_that_hangs(place: Place, haproxy: HAProxy) -> None:
    place.certbot.ends = False
    place.keeper().round()
    assert place.report.problem == "not issued: Certbot did not end within 300 s"


def test_a_broken_report_is_written_anew(place: Place, haproxy: HAProxy) -> None:
    (place.state / "report.json").write_text('{"other": 1}')
    place.keeper().round()
    assert place.report.issued


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (
            FAILED,
            "ai.lab.example: DNS problem: NXDOMAIN looking up A for ai.lab.example - check that a"
            " DNS record exists for this domain (dns); chat.lab.example: 192.0.2.7: Fetching"
            " http://chat.lab.example/.well-known/acme-challenge/x: Connection refused"
            " (connection)",
        ),
        (REFUSED, 'JWS has an invalid anti-replay nonce :: nonce "x" is not known'),
        ("Saving debug log to x\nPlease choose an account\n", "Please choose an account"),
        ("", "Certbot failed and said nothing"),
    ],
)
def test_why_it_failed(keep: Any, output: str, reason: str) -> None:
    assert keep.explain(output) == reason


@pytest.mark.parametrize(
    ("failures", "life", "seconds"),
    [
        (0, None, 12 * 3600),
        (0, 90 * DAY, 12 * 3600),
        # started 1000 s before it was tried, and left alone for half its life
        (0, 6 * DAY, 3 * DAY - 1000),
        (0, 4000, 1000),
        (0, 1000, 20),
        (1, None, 120),
        (5, None, 1920),
        (20, 90 * DAY, 12 * 3600),
        (1, 1000, 100),
    ],
)
def test_how_long_it_waits(keep: Any, failures: int, life: float | None, seconds: float) -> None:
    dates = (49_000, 49_000 + life) if life else ()
    assert keep.next_try(50_000, failures, *dates) == 50_000 + seconds
