"""Which branch of NVIDIA's driver a host should have."""

from __future__ import annotations

from deploy.catalog import Catalog
from deploy.catalog.nvidia import DriverSource, NvidiaPackages
from deploy.errors import HostError, Problem
from deploy.hosts.drivers.needs import Needs
from deploy.spec.driver import DriverSpec

USUAL = ("580", "620", "595")
"""Branches in the order in which they are tried: 580 has updates until 2028, and drives every card
from Maxwell to Blackwell in both flavours."""


def choose_branch(  # noqa: PLR0913, PLR0917 - what the choice depends on
    spec: DriverSpec,
    source: DriverSource,
    packages: NvidiaPackages,
    needs: Needs,
    catalog: Catalog,
    today: str,
) -> str:
    """The branch that a host should have: what is declared, else the first usual one that serves.

    Args:
        spec: what is declared of the driver.
        source: where it comes from.
        packages: what its release's sources have.
        needs: what cards and images want.
        catalog: branches.
        today: a date, e.g. ``2026-11-28``.

    Raises:
        HostError: if that source has none that can serve.
    """
    offered = _branches(packages, source)
    asked = spec.wanted_branch
    known = catalog.nvidia_branches
    living = [number for number in known if not known[number].has_ended(today)]
    if asked and asked not in known:
        raise refuse(f"branch {asked!r} is not known", ", ".join(living))
    fitting = [
        number
        for number in sorted(known, key=lambda number: (number not in USUAL, _rank(number)))
        if not list(needs.against(number, known[number], today))
    ]
    candidates = [asked] if asked else [number for number in fitting if number in offered]
    if asked and asked not in fitting:
        reasons = "; ".join(needs.against(asked, known[asked], today))
        raise refuse(f"branch {asked!r}: {reasons}", ", ".join(fitting) or "no branch can")
    if not candidates or candidates[0] not in offered:
        wanted = asked or ", ".join(fitting) or "none that is known"
        reasons = "; ".join(
            reason for number in offered for reason in needs.against(number, known[number], today)
        )
        has = f"source={source!r} has {', '.join(offered)}"
        found = f"branch {asked!r} is declared, and {has}" if asked else has
        raise refuse(
            f"{found}: {reasons}" if reasons else found,
            f"branch {wanted}" if reasons or not asked else ", ".join(offered),
            _other_source(source, packages, candidates or fitting),
        )
    return candidates[0]


def _branches(packages: NvidiaPackages, source: DriverSource) -> tuple[str, ...]:
    """What a source has."""
    offered = packages.of(source)
    return offered.branches if offered else ()


def _other_source(source: DriverSource, packages: NvidiaPackages, wanted: list[str]) -> str:
    """What to do where one source has none of the branches that are wanted."""
    other: DriverSource = "vendor" if source == "distribution" else "distribution"
    if set(wanted) & set(_branches(packages, other)):
        return f"declare source={other!r}"
    return "declare a branch that it has"


def _rank(number: str) -> int:
    return USUAL.index(number) if number in USUAL else -int(number)


def refuse(found: str, allowed: str = "", fix: str = "") -> HostError:
    """What is raised where no driver can be chosen."""
    fix = fix or "declare what is allowed, or driver='present' and install it yourself"
    return HostError(Problem("driver", found, allowed, fix))
