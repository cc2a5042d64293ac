"""In which order what a deployment has on a host is stopped, by what it is called there.

What asks goes before what it asks, so that answers end. No plan is asked for: what is there may be
of another one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from deploy.services import (
    aristote,
    certbot,
    engines,
    haproxy,
    links,
    listener,
    litellm,
    open_webui,
    postgres,
    rabbitmq,
    routes,
    valkey,
)

ORDER = (
    frozenset({haproxy.IMAGE}),
    frozenset({certbot.IMAGE, open_webui.IMAGE}),
    frozenset({litellm.IMAGE, aristote.SENDER}),
    frozenset({aristote.CONSUMER}),
    frozenset({links.SERVER, routes.LINK_CLIENT}),
    # what is open for the entry and for links is open in the network of their listeners
    frozenset({listener.SERVICE}),
    engines.SERVICES,
    frozenset({postgres.IMAGE, rabbitmq.IMAGE, valkey.IMAGE}),
)
"""What is called so is stopped at the same time; what is not known, with the first."""


def in_turn(names: Iterable[str], services: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
    """Names in the order in which they are stopped; those at the same time together.

    Args:
        names: of containers and services of a host.
        services: what each of them is, e.g. ``litellm``, as far as that is known.
    """
    names = tuple(names)
    for turn in range(len(ORDER)):
        together = tuple(name for name in names if _turn(services.get(name, "")) == turn)
        if together:
            yield together


def _turn(service: str) -> int:
    return next((turn for turn, known in enumerate(ORDER) if service in known), 0)
