"""Whether a Mac is what is declared, and can serve without anybody logging in."""

from __future__ import annotations

import re
from collections.abc import Iterator

from deploy.catalog import Catalog
from deploy.hosts.finding import Finding
from deploy.hosts.mac.state import MacState
from deploy.hosts.state import HostState, System
from deploy.hosts.subject import Subject
from deploy.plan.host_gpus import gpu_names
from deploy.services import Tier
from deploy.spec import HostSpec
from deploy.units import GIB, MIB

FIRST_VERSION = 14
"""The oldest macOS that Ollama runs on: https://docs.ollama.com/macos."""
FIRST_HAPROXY = (2, 6)
"""The oldest HAProxy that links were run with; Homebrew has newer ones."""


def system_findings(spec: HostSpec, system: System) -> Iterator[Finding]:
    """Whether a host has the operating system that is declared for it."""
    is_mac = system.kernel.startswith("Darwin")
    if is_mac and not spec.is_mac:
        yield Finding(
            "operating system",
            "problem",
            f"macOS ({system.kernel})",
            "Linux, which is what hosts are unless they are declared otherwise",
            "declare system='macos' for the host: docs/mac.md",
        )
    if not spec.is_mac:
        return
    if not is_mac:
        found = system.name or system.kernel or "not known"
        yield Finding(
            "operating system", "problem", found, "macOS, as declared", "remove system='macos'"
        )
        return
    yield _version(system)
    yield _root(system)


def _version(system: System) -> Finding:
    found = f"{system.name} {system.kernel}"
    major = system.version.partition(".")[0]
    if system.architecture != "arm64":
        allowed, fix = "a Mac with an Apple chip", "engines use no GPU of other Macs"
        return Finding("operating system", "problem", found, allowed, fix)
    if not major.isdigit() or int(major) < FIRST_VERSION:
        allowed = f"macOS {FIRST_VERSION} or newer"
        return Finding("operating system", "problem", found, allowed, "update macOS")
    return Finding("operating system", "ok", found)


def _root(system: System) -> Finding:
    if system.is_root:
        return Finding("services", "ok", "launchd runs")
    return Finding(
        "services",
        "problem",
        "this user is not root, and only root can change daemons of launchd",
        "root, or a user with sudo",
        "declare sudo=True for the host",
    )


def mac_findings(
    subject: Subject, found: HostState, mac: MacState, catalog: Catalog
) -> Iterator[Finding]:
    """What is to be said about a Mac's chip, its accounts, its HAProxy and how it starts.

    Args:
        subject: the host as declared.
        found: what it is like.
        mac: what it is like as a Mac.
        catalog: what is known of Macs.
    """
    spec = subject.spec
    if not found.system.kernel.startswith("Darwin"):
        return
    yield _chip(spec, mac, catalog)
    if mac.wired_limit_mib is None:
        yield Finding(
            "GPU memory",
            "problem" if spec.wired_limit_mib else "warning",
            "macOS has no iogpu.wired_limit_mb",
            "a macOS that says how much memory its GPU may have",
            "remove wired_limit_mib of the host",
        )
    if spec.service_user and spec.service_user not in mac.accounts:
        yield Finding(
            "account",
            "problem",
            f"there is no account {spec.service_user!r}, which engines are to run as",
            "an account of this Mac",
            f"make one: docs/mac.md; or declare another service_user than {spec.service_user!r}",
        )
    if _has_haproxy(subject, found, mac):
        yield _haproxy(mac.haproxy)
    if mac.has_filevault:
        yield Finding(
            "FileVault",
            "warning",
            "on: after a restart nothing runs until somebody types a password at the Mac",
            "off, where the Mac is to serve again by itself",
            "sudo fdesetup disable, if it does not matter that somebody who takes the disk away"
            " can read it",
        )


def _has_haproxy(subject: Subject, found: HostState, mac: MacState) -> bool:
    """Whether links end here, and the account that is to run HAProxy could be asked about it."""
    path = subject.spec.every_program["haproxy"].path
    is_linked = any(unit.tier == Tier.LINK for unit in subject.units)
    return is_linked and str(path) in found.file_sizes and subject.spec.service_user in mac.accounts


def _haproxy(said: str) -> Finding:
    found = re.search(r"version (\d+)\.(\d+)", said)
    if found and (int(found[1]), int(found[2])) >= FIRST_HAPROXY:
        return Finding("HAProxy", "ok", said)
    return Finding(
        "HAProxy",
        "problem",
        said or "it does not run as the account of the engines",
        f"{'.'.join(map(str, FIRST_HAPROXY))} or newer",
        "on the Mac: brew upgrade haproxy",
    )


def _chip(spec: HostSpec, mac: MacState, catalog: Catalog) -> Finding:
    [name] = gpu_names(spec, catalog)
    entry = catalog.gpus[name]
    memory_gib = mac.memory_bytes / GIB
    found = f"{mac.chip or 'a chip that macOS does not name'}, {memory_gib:.0f} GiB"
    wanted = f"{entry.name}, as declared"
    if (entry.memory_gib or 0) * GIB > mac.memory_bytes + MIB:
        fix = "declare the Mac that is there: atelier gpus --vendor apple"
        return Finding("GPUs", "problem", found, wanted, fix)
    chip = mac.chip.removeprefix("Apple ")
    if chip and f"({chip}," not in entry.name:
        fix = "its speed is estimated for another chip: atelier gpus --vendor apple"
        return Finding("GPUs", "warning", found, wanted, fix)
    return Finding("GPUs", "ok", f"{found}, as declared")
