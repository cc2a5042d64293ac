"""Whether a certificate was issued, read from a container, and asked for again."""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import pytest
from docker.errors import APIError, NotFound

from deploy.artefacts import Artefacts
from deploy.errors import ServiceError
from deploy.live import acme
from deploy.live.connection import Connection
from deploy.spec import HostSpec
from deploy.tls.acme import Renewal
from tests.conftest import MakeArtefacts

ISSUED = Renewal(issued=True, ends=2e9, tried=1e9, failures=0, reason="")
FAILED = Renewal(issued=False, ends=None, tried=1e9, failures=2, reason="a: no such name (dns)")
NEVER = Renewal(issued=False, ends=None, tried=None, failures=0, reason="")


class Docker:
    """An engine with the one container, which writes a report after another."""

    def __init__(self, *reports: Renewal | None) -> None:
        self.reports, self.signals = list(reports), list[str]()
        self.containers, self.status = self, "running"

    def get(self, name: str) -> Docker:
        assert name == "demo-certbot-0"
        if self.reports[0] is None:
            raise NotFound("there is none")
        return self

    def kill(self, signal: str) -> None:
        if self.status != "running":
            raise APIError("it does not run")
        self.signals.append(signal)

    def get_archive(self, path: str) -> tuple[Iterator[bytes], dict[str, Any]]:
        assert path == "/etc/letsencrypt/report.json"
        report = self.reports.pop(0) if len(self.reports) > 1 else self.reports[0]
        assert report
        text = json.dumps(asdict(report) | {"settings": "x", "again": 0}).encode()
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            member = tarfile.TarInfo("report.json")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text))
        return iter([buffer.getvalue()]), {}


@pytest.fixture
def made(make: MakeArtefacts) -> Artefacts:
    return make(entry={"names": ["ai.lab.example"], "acme": {"terms_agreed": True}})


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acme, "POLL_SECONDS", 0.01)


def wait(made: Artefacts, docker: Docker) -> Renewal | None:
    client: Any = docker
    connection = Connection(HostSpec(name="@local"), None, lambda: client)
    return acme.wait_for_certificate(made, connection)


def test_one_that_was_issued_is_not_waited_for(made: Artefacts) -> None:
    docker = Docker(ISSUED)
    assert wait(made, docker) == ISSUED
    assert docker.signals == []


def test_the_first_try_is_waited_for(made: Artefacts) -> None:
    docker = Docker(NEVER, NEVER, ISSUED)
    assert wait(made, docker) == ISSUED
    assert docker.signals == []


def test_after_a_failure_the_authority_is_asked_again(made: Artefacts) -> None:
    issued = replace(ISSUED, tried=1e9 + 60)
    docker = Docker(FAILED, FAILED, issued)
    assert wait(made, docker) == issued
    assert docker.signals == ["SIGUSR1"]


def test_a_failure_of_this_moment_is_enough(made: Artefacts) -> None:
    fresh = Renewal(False, None, time.time(), 1, "a: no such name (dns)")
    docker = Docker(fresh)
    assert wait(made, docker) == fresh
    assert docker.signals == []


def test_nothing_there(made: Artefacts) -> None:
    assert wait(made, Docker(None)) is None


@pytest.mark.parametrize("report", [NEVER, FAILED])
def test_a_keeper_that_does_not_run_is_not_waited_for(made: Artefacts, report: Renewal) -> None:
    docker = Docker(report)
    docker.status = "exited"
    assert wait(made, docker) == report


def test_an_authority_that_takes_too_long(made: Artefacts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acme, "PATIENCE_SECONDS", 0.2)
    assert wait(made, Docker(NEVER)) == NEVER


@pytest.mark.parametrize(
    ("renewal", "found"),
    [(FAILED, "not issued: a: no such name (dns)"), (None, "there is no report of it")],
)
def test_why_there_is_none(made: Artefacts, renewal: Renewal | None, found: str) -> None:
    acme.require_issued(made, ISSUED)
    with pytest.raises(ServiceError) as refused:
        acme.require_issued(made, renewal)
    text = str(refused.value)
    assert f"/directory was asked for ai.lab.example: {found}" in text
    assert "the certificate that was served before is served" in text


def test_a_missing_account_is_named_as_the_inventory_does(made: Artefacts) -> None:
    wants = replace(ISSUED, issued=False, reason="Server requires external account binding.")
    with pytest.raises(ServiceError, match=r"declare entry\.acme\.external_account"):
        acme.require_issued(made, wants)


def test_an_entry_without_an_authority_needs_none(make: MakeArtefacts) -> None:
    acme.require_issued(make(entry={}), None)
