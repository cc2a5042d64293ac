"""Where users reach a deployment, and where the operator finds their new keys."""

from __future__ import annotations

from deploy.artefacts import Artefacts
from deploy.people.new_keys import Handover
from deploy.plan.addresses import host_and_port
from deploy.plan.service_plans import RouterPlan
from deploy.spec import HostSpec
from deploy.spec.endpoint import EndpointSpec


def router_url(artefacts: Artefacts) -> str:
    """Base URL of the router, without ``/v1``: the entry's where there is one."""
    if artefacts.plan.entry:
        return artefacts.plan.entry.urls[0]
    return url_of(artefacts, artefacts.plan.router)


def completions_url(artefacts: Artefacts) -> str:
    """Base URL of what completes code, without ``/v1``.

    It is an address of its own where there are two routers and no entry.
    """
    if artefacts.plan.entry:
        return router_url(artefacts)
    return url_of(artefacts, artefacts.plan.completing_router)


def url_of(artefacts: Artefacts, router: RouterPlan) -> str:
    """Base URL of a router at its own port, without ``/v1``."""
    return _url(artefacts.host(router.host), router.spec)


def web_ui_url(artefacts: Artefacts) -> str | None:
    """URL of the web UI, if there is one."""
    web_ui = artefacts.plan.web_ui
    if web_ui is None:
        return None
    if web_ui.spec.url is None and artefacts.plan.entry:
        return artefacts.plan.entry.urls[0]
    return web_ui.spec.url or _url(artefacts.host(web_ui.host), web_ui.spec)


def handover(artefacts: Artefacts) -> Handover:
    """New keys, in a directory of this machine next to the file of secrets."""
    name = artefacts.plan.name
    return Handover(artefacts.secrets.path.parent / f"{name}-keys", name, router_url(artefacts))


def _url(host: HostSpec, endpoint: EndpointSpec) -> str:
    """Under the address it listens on; under the host's own where it listens on all."""
    address = str(endpoint.listen)
    if endpoint.listen.is_unspecified:
        address = "127.0.0.1" if host.is_local else host.address or host.name
    return f"http://{host_and_port(address, endpoint.port)}"
