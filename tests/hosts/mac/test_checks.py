"""Whether a Mac is what is declared, and can serve."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from deploy.catalog import load_catalog
from deploy.hosts.finding import Finding
from deploy.hosts.mac.checks import mac_findings, system_findings
from deploy.hosts.mac.state import MacState
from deploy.hosts.service_checks import service_findings
from deploy.hosts.state import HostState, System
from deploy.hosts.subject import Subject
from deploy.operations.questions import subject_of
from deploy.spec import HostSpec
from tests.conftest import MakeArtefacts
from tests.services.test_launchd import MAC, on_a_mac

SPEC = HostSpec.model_validate(MAC)
SYSTEM = System("macos", (), "macOS 15.5", "15.5", kernel="Darwin arm64", is_root=True)
GOOD = MacState("Apple M3 Ultra", 256 * 1024**3, 0, accounts=frozenset({"ollama"}))


def found(mac: MacState, **declared: Any) -> list[tuple[str, str, str]]:
    subject = Subject(HostSpec.model_validate(MAC | declared), ())
    return rows(mac_findings(subject, HostState(system=SYSTEM), mac, load_catalog()))


def rows(findings: Iterable[Finding]) -> list[tuple[str, str, str]]:
    return [(each.name, each.status, each.found) for each in findings]


def test_a_mac_that_is_what_is_declared() -> None:
    assert found(GOOD) == [("GPUs", "ok", "Apple M3 Ultra, 256 GiB, as declared")]


@pytest.mark.parametrize(
    ("changes", "declared", "row"),
    [
        (
            {"memory_bytes": 96 * 1024**3},
            {},
            ("GPUs", "problem", "Apple M3 Ultra, 96 GiB"),
        ),
        ({"chip": "Apple M2 Ultra"}, {}, ("GPUs", "warning", "Apple M2 Ultra, 256 GiB")),
        (
            {"accounts": frozenset()},
            {},
            ("account", "problem", "there is no account 'ollama', which engines are to run as"),
        ),
        (
            {"wired_limit_mib": None},
            {"wired_limit_mib": 200_000},
            ("GPU memory", "problem", "macOS has no iogpu.wired_limit_mb"),
        ),
        (
            {"wired_limit_mib": None},
            {},
            ("GPU memory", "warning", "macOS has no iogpu.wired_limit_mb"),
        ),
        (
            {"has_filevault": True},
            {},
            (
                "FileVault",
                "warning",
                "on: after a restart nothing runs until somebody types a password at the Mac",
            ),
        ),
    ],
)
def test_what_is_said(
    changes: dict[str, Any], declared: dict[str, Any], row: tuple[str, str, str]
) -> None:
    assert row in found(replace(GOOD, **changes), **declared)


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("HAProxy version 3.3.6-1234 2026/07/01 - https://haproxy.org/", "ok"),
        ("HAProxy version 2.6.12-1+deb12u4 2026/01/02 - https://haproxy.org/", "ok"),
        ("HAProxy version 2.4.29 2025/04/22 - https://haproxy.org/", "problem"),
        ("", "problem"),
    ],
)
def test_haproxy_of_a_link(make: MakeArtefacts, said: str, status: str) -> None:
    artefacts = on_a_mac(make, engine={"kind": "ollama"})
    subject = subject_of(artefacts, "mac")
    state = HostState(system=SYSTEM, file_sizes=dict.fromkeys(subject.paths, 1))
    assert "/opt/homebrew/bin/haproxy" in subject.paths
    seen = rows(mac_findings(subject, state, replace(GOOD, haproxy=said), load_catalog()))
    wanted = said or "it does not run as the account of the engines"
    assert [row for row in seen if row[0] == "HAProxy"] == [("HAProxy", status, wanted)]
    # without a link, and where it is not there, no one asks for its version
    trusted = subject_of(on_a_mac(make), "mac")
    for other, there in ((trusted, state), (subject, replace(state, file_sizes={}))):
        seen = rows(mac_findings(other, there, replace(GOOD, haproxy=said), load_catalog()))
        assert [row for row in seen if row[0] == "HAProxy"] == []


def test_no_haproxy_for_a_link(make: MakeArtefacts) -> None:
    subject = subject_of(on_a_mac(make, engine={"kind": "ollama"}), "mac")
    [finding] = service_findings(subject, HostState(system=SYSTEM))
    assert finding.found == "/opt/homebrew/bin/haproxy is not there"
    assert "brew install haproxy" in finding.fix
    assert "trusted_network=True" in finding.fix


@pytest.mark.parametrize(
    ("changes", "row"),
    [
        ({}, ("operating system", "ok", "macOS 15.5 Darwin arm64")),
        ({"version": "13.6"}, ("operating system", "problem", "macOS 15.5 Darwin arm64")),
        ({"kernel": "Darwin x86_64"}, ("operating system", "problem", "macOS 15.5 Darwin x86_64")),
        (
            {"is_root": False},
            (
                "services",
                "problem",
                "this user is not root, and only root can change daemons of launchd",
            ),
        ),
        ({"kernel": "Linux x86_64", "name": "Debian"}, ("operating system", "problem", "Debian")),
    ],
)
def test_its_system(changes: dict[str, Any], row: tuple[str, str, str]) -> None:
    assert row in rows(system_findings(SPEC, replace(SYSTEM, **changes)))


def test_a_mac_that_is_declared_as_another_host() -> None:
    other = HostSpec(name="h1")
    assert rows(system_findings(other, SYSTEM)) == [
        ("operating system", "problem", "macOS (Darwin arm64)")
    ]
    assert rows(system_findings(other, System(kernel="Linux x86_64"))) == []
    # nothing is said of a Mac that is none
    linux = HostState(system=System(kernel="Linux x86_64"))
    assert list(mac_findings(Subject(SPEC, ()), linux, MacState(), load_catalog())) == []
