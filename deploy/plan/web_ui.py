"""The web UI: how many of it can run, how people get to log in, what it is called."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import urlsplit

from deploy.catalog import Catalog
from deploy.errors import Problem
from deploy.plan.replica_plan import ReplicaPlan
from deploy.plan.service_plans import WebUIPlan
from deploy.spec import DeploymentSpec, WebUISpec

TITLE = "Atelier"
OWN_TITLE = "Open WebUI"
"""What it is called where no one calls it otherwise."""
LICENCE = "open-webui"


def web_ui_plan(spec: DeploymentSpec, people: int, catalog: Catalog) -> WebUIPlan | None:
    """The web UI, where there is one.

    Args:
        spec: the deployment.
        people: how many are declared.
        catalog: what licences ask for.
    """
    if spec.web_ui is None:
        return None
    title = OWN_TITLE if _must_keep_name(spec, people, catalog) else TITLE
    return WebUIPlan(
        host=spec.web_ui_host,
        spec=spec.web_ui,
        title=title if spec.web_ui.title is None else spec.web_ui.title,
        uses_valkey=_uses_valkey(spec, spec.web_ui),
    )


def web_ui_warnings(
    spec: DeploymentSpec, replicas: tuple[ReplicaPlan, ...], people: int, catalog: Catalog
) -> Iterator[str]:
    """A name that the licence does not allow, and documents that are not searched."""
    web_ui = spec.web_ui
    if web_ui is None:
        return
    if web_ui.title not in {None, OWN_TITLE} and _must_keep_name(spec, people, catalog):
        limit = catalog.licences[LICENCE].exceeded_thresholds(max(spec.users, people))[0]
        yield (
            f"web_ui.title: {web_ui.title!r} is shown before Open WebUI's own name, and above"
            f" {limit.users} people {limit.consequence} ({limit.clause} of its licence): remove"
            " title, unless its makers have allowed it"
        )
    if web_ui.replicas > 1 and any(replica.embeds for replica in replicas):
        yield (
            f"web_ui.replicas: documents are not searched with {web_ui.replicas} web UIs, they go"
            " to the chat as a whole: what is found in them is in files that only one can use"
        )


def _must_keep_name(spec: DeploymentSpec, people: int, catalog: Catalog) -> bool:
    return bool(catalog.licences[LICENCE].exceeded_thresholds(max(spec.users, people)))


def web_ui_problems(spec: DeploymentSpec) -> Iterator[Problem]:
    """More of it than can share anything, logins that lead nowhere."""
    web_ui = spec.web_ui
    if web_ui is None:
        return
    if web_ui.replicas > 1:
        yield from _replica_problems(spec, web_ui)
    if web_ui.oidc:
        yield from _address_problems(spec, web_ui)


def _uses_valkey(spec: DeploymentSpec, web_ui: WebUISpec) -> bool:
    """Whether it is there, is reached, and there is something to be kept in it."""
    has_something = web_ui.replicas > 1 or web_ui.has_site_logins
    return has_something and spec.valkey is not None and _is_reached(spec)


def _is_reached(spec: DeploymentSpec) -> bool:
    """Valkey is published nowhere: only its own host reaches it."""
    is_elsewhere = spec.valkey is not None and spec.valkey.url is not None
    return is_elsewhere or spec.web_ui_host == spec.router_host


def _replica_problems(spec: DeploymentSpec, web_ui: WebUISpec) -> Iterator[Problem]:
    count = web_ui.replicas
    lacks = [
        (
            spec.entry is None,
            "there is no entry, which hands people to all of them",
            "entry=Entry()",
        ),
        (
            spec.postgres is None or not spec.postgres.web_ui,
            "there is no database that they could share: only one web UI can use a file of SQLite",
            "postgres=Postgres()",
        ),
        (
            spec.valkey is None,
            "there is no Valkey, through which an answer gets to people who are connected to"
            " another one",
            "valkey=Valkey()",
        ),
    ]
    for is_missing, why, fix in lacks:
        if is_missing:
            yield Problem(
                "web_ui.replicas",
                f"{count} web UIs, but {why}",
                "an entry, PostgreSQL and Valkey; or 1 web UI",
                f"declare {fix}, or web_ui.replicas = 1",
            )
    if spec.valkey and not _is_reached(spec):
        yield Problem(
            "web_ui.host",
            f"{count} web UIs on {spec.web_ui_host} do not reach Valkey on {spec.router_host},"
            " which is not published",
            "router and web UIs on one host, or a Valkey of your own",
            "declare web_ui.host for the router's host, or valkey=Valkey(url=Secret(...))",
        )


def _address_problems(spec: DeploymentSpec, web_ui: WebUISpec) -> Iterator[Problem]:
    """A provider sends people back to the address that they type, over TLS."""
    if web_ui.url is None and spec.entry is None:
        yield Problem(
            "web_ui.oidc",
            "the provider sends people back to the web UI, and there is no address for them",
            "an entry; or url, where a proxy with TLS stands in front",
            "declare entry=Entry(names=['ai.lab.example']), or web_ui.url",
        )
    elif web_ui.url and not web_ui.url.startswith("https://") and not _is_here(web_ui.url):
        yield Problem(
            "web_ui.url",
            f"{web_ui.url!r}: anybody who listens on the way would see logins",
            "https://, which providers ask for, too",
            "declare entry=Entry() without url, or the proxy's address with https://",
        )


def _is_here(url: str) -> bool:
    """Whether an address is a browser's own machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
