"""How long the entry's certificate lasts, as ``atelier doctor`` says it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from deploy.hosts.certificate_checks import certificate_findings
from deploy.tls.renewal import provide
from tests.tls.site import site_pair

NOW = datetime.now(UTC)


@pytest.mark.parametrize(
    ("days", "status", "found"),
    [
        (0, "ok", "395 days left"),
        (374, "ok", "21 days left"),
        (376, "warning", "19 days left"),
        (400, "problem", "it expired on"),
        (-10, "problem", "it is valid from"),
    ],
)
def test_a_certificate_of_the_site(days: int, status: str, found: str) -> None:
    later = (NOW + timedelta(days=days, hours=12)).timestamp()
    [finding] = certificate_findings(site_pair().certificate, None, later)
    assert finding.status == status
    assert finding.found.startswith(found)
    assert bool(finding.fix) == (status != "ok")


@pytest.mark.parametrize(
    ("days", "findings"),
    [
        (0, [("certificate", "ok")]),
        (370, [("certificate", "ok")]),
        (380, [("certificate", "warning")]),
        # the next deployment renews it: nothing keeps from that
        (500, [("certificate", "warning")]),
        (3400, [("certificate", "warning"), ("root certificate", "warning")]),
        (3700, [("certificate", "ok"), ("root certificate", "problem")]),
    ],
)
def test_one_that_atelier_makes(days: int, findings: list[tuple[str, str]]) -> None:
    made = provide(None, "d", ["a"], NOW)
    later = NOW + timedelta(days=days)
    own = provide(made, "d", ["a"], later)
    found = list(certificate_findings(own.server.certificate, own, later.timestamp()))
    assert [(finding.name, finding.status) for finding in found] == findings
