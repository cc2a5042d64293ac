"""Where people come in, and why they could not."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.errors import Problem
from deploy.plan.service_plans import EntryPlan
from deploy.spec import DeploymentSpec, EntrySpec, HostSpec
from deploy.spec.entry import is_dns_name, is_name

LOCAL = "localhost"


def entry_plan(spec: DeploymentSpec) -> EntryPlan | None:
    """The entry, where one is declared."""
    if spec.entry is None:
        return None
    return EntryPlan(host=spec.entry_host, spec=spec.entry, names=_names(spec, spec.entry))


def entry_problems(spec: DeploymentSpec) -> Iterator[Problem]:
    """A host without a usable name, and services out of reach."""
    yield from _replica_problems(spec)
    if spec.entry is None:
        return
    yield from _acme_problems(spec, spec.entry)
    for name in _names(spec, spec.entry):
        if not is_name(name):
            yield Problem(
                "entry.names",
                f"not declared, and {name!r} of the host is neither a DNS name nor an address",
                "DNS names and IP addresses that people type",
                "declare entry=Entry(names=[...])",
            )


def _acme_problems(spec: DeploymentSpec, entry: EntrySpec) -> Iterator[Problem]:
    """Names that an authority cannot be asked for."""
    if entry.acme is None:
        return
    unusable = [name for name in _names(spec, entry) if not is_dns_name(name) or name == LOCAL]
    if unusable:
        found = f"{', '.join(unusable)}, which no certificate is issued for over ACME"
        yield Problem(
            "entry.names",
            found if entry.names else f"not declared, which leaves {found}",
            "DNS names that lead to the entry from where the authority is",
            "declare entry=Entry(names=['ai.lab.example'], ...) with DNS names alone; a deployment"
            " on an address alone does without acme",
        )


def _replica_problems(spec: DeploymentSpec) -> Iterator[Problem]:
    """Only an entry reaches several routers: one port leads to one of them."""
    for setting, router in spec.router_settings():
        count = router.replicas
        if count > 1 and spec.entry is None:
            yield Problem(
                f"{setting}.replicas",
                f"{count} routers on {spec.router_host}, but there is no entry",
                "an entry, which hands requests to all of them; or 1 router",
                f"declare entry=Entry(), or {setting}.replicas = 1",
            )
        elif count > 1 and not spec.is_behind_entry(router):
            yield Problem(
                f"{setting}.replicas",
                f"{count} of Aristote, but the entry leads only to LiteLLM, the main router",
                "1, or Aristote as the main router",
                f"declare {setting}.replicas = 1, or Aristote first",
            )


def _names(spec: DeploymentSpec, entry: EntrySpec) -> tuple[str, ...]:
    """What is declared, else the address that it listens on, else the host's own."""
    if entry.names:
        return entry.names
    if not entry.listen.is_unspecified:
        return (str(entry.listen),)
    host = _host(spec)
    if host.is_local and not host.address:
        return ("127.0.0.1", LOCAL)
    return ((host.address or host.name).lower(),)


def _host(spec: DeploymentSpec) -> HostSpec:
    return next(host for host in spec.hosts if host.name == spec.entry_host)
