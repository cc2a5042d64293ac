"""Where databases and what routers share are kept, and why they cannot be."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.errors import Problem
from deploy.plan.service_plans import DatabaseUser, PostgresPlan, ValkeyPlan
from deploy.spec import DeploymentSpec

POOL = 10
"""Connections of one router."""
ARISTOTE_CONNECTIONS = 15
"""Of one sender of Aristote: SQLAlchemy's 5 and up to 10 more."""
WEB_UI_CONNECTIONS = 15
"""Of each web UI but the first: SQLAlchemy's 5 and up to 10 more."""
SPARE_CONNECTIONS = 30
"""For the web UI, for migrations and for an administrator."""


def postgres_plan(spec: DeploymentSpec) -> PostgresPlan | None:
    """The databases; a server runs where those who use it do, and is published nowhere."""
    postgres = spec.postgres
    if postgres is None:
        return None
    own: list[DatabaseUser] = []
    declared: list[DatabaseUser] = []
    (own if postgres.has_router else declared).append("router")
    if spec.web_ui and postgres.web_ui:
        (own if postgres.has_web_ui else declared).append("web_ui")
    host = spec.router_host if "router" in own else spec.web_ui_host if own else None
    return PostgresPlan(spec=postgres, host=host, own=tuple(own), declared=tuple(declared))


def valkey_plan(spec: DeploymentSpec) -> ValkeyPlan | None:
    """What routers share; the server runs where they do."""
    if spec.valkey is None:
        return None
    return ValkeyPlan(spec=spec.valkey, host=None if spec.valkey.url else spec.router_host)


def store_problems(spec: DeploymentSpec) -> Iterator[Problem]:
    """A server that is not reached, or takes too few connections; one database for two services."""
    postgres, plan = spec.postgres, postgres_plan(spec)
    if postgres is None or plan is None:
        return
    if len(plan.own) > 1 and spec.web_ui_host != spec.router_host:
        yield Problem(
            "postgres.web_ui",
            f"the web UI on {spec.web_ui_host} does not reach PostgreSQL on {spec.router_host},"
            " which is not published",
            "router and web UI on one host, or a database of its own for the web UI",
            "declare web_ui.host for the router's host, postgres=Postgres(web_ui=False) for SQLite,"
            " or web_ui_database_url",
        )
    others = spec.web_ui.replicas - 1 if spec.web_ui and postgres.has_web_ui else 0
    pools = {"aristote": ARISTOTE_CONNECTIONS, "litellm": POOL}
    pooled = sum(pools[router.kind] * router.replicas for router in spec.all_routers)
    wanted = pooled + WEB_UI_CONNECTIONS * others + SPARE_CONNECTIONS
    if "router" in plan.own and postgres.max_connections < wanted:
        yield Problem(
            "postgres.max_connections",
            f"{postgres.max_connections} for "
            + " and ".join(
                f"{_routers(router.replicas)} with {pools[router.kind]} each"
                for router in spec.all_routers
            )
            + (f" and {others + 1} web UIs" if others else ""),
            f"at least {wanted}",
            "declare as many, and a larger memory_limit: each takes some MiB",
        )
    if postgres.router_database_url and len(spec.all_routers) > 1:
        yield Problem(
            "postgres.router_database_url",
            "one database, and each of two routers has its own",
            "two routers on the deployment's own PostgreSQL",
            "remove router_database_url, or declare one router",
        )
    if postgres.router_database_url and (
        postgres.router_database_url == postgres.web_ui_database_url
    ):
        yield Problem(
            "postgres.web_ui_database_url",
            "the same secret as router_database_url",
            "a database of its own for each of them",
        )


def _routers(count: int) -> str:
    return "1 router" if count == 1 else f"{count} routers"
