"""How long the entry's certificate lasts, as ``atelier doctor`` says it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from deploy.hosts.certificate_checks import (
    certificate_findings,
    issued_findings,
    link_finding,
)
from deploy.tls.acme import Renewal
from deploy.tls.authority import issue, make_authority
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


ENDS = (NOW + timedelta(days=40, hours=1)).timestamp()


@pytest.mark.parametrize(
    ("renewal", "status", "found"),
    [
        (None, "ok", "none yet; the deployment will have it issued"),
        (Renewal(True, ENDS, 1, 0, ""), "ok", "40 days left"),
        (Renewal(False, None, None, 0, ""), "warning", "not issued yet"),
        (Renewal(False, None, 1, 3, "a: no (dns)"), "warning", "not issued: a: no (dns)"),
        (
            Renewal(True, ENDS, 1, 3, "a: no (dns)"),
            "warning",
            "40 days left; the last 3 tries to renew it failed: a: no (dns)",
        ),
        (Renewal(True, 1, 1, 0, ""), "warning", "it ended "),
    ],
)
def test_one_that_an_authority_issues(renewal: Renewal | None, status: str, found: str) -> None:
    [finding] = issued_findings(renewal, NOW.timestamp())
    assert finding.status == status
    assert finding.found.startswith(found)
    assert bool(finding.fix) == (status != "ok")


@pytest.mark.parametrize(
    ("days", "renewed", "status"),
    [(0, False, "ok"), (370, True, "ok"), (380, True, "warning"), (500, True, "warning")],
)
def test_one_of_a_link(days: int, renewed: bool, status: str) -> None:
    pair = issue(make_authority("lab links", NOW), ("b.link",), NOW)
    later = (NOW + timedelta(days=days, hours=12)).timestamp()
    finding = link_finding(pair.certificate, later, is_renewed=renewed)
    assert (finding.name, finding.status) == ("link certificate", status)
    assert bool(finding.fix) == (status != "ok")
