"""Certbot: has the entry's certificate issued and renewed over ACME.

Options: https://eff-certbot.readthedocs.io/en/stable/using.html#certbot-command-line-options
Image: https://github.com/certbot/certbot/blob/main/tools/docker/Dockerfile

A program of ours looks after it (templates/certbot/keep.py): the entry's plain port leads the
authority to it, and what it gets it writes into a volume that it shares with the entry, and hands
to HAProxy's runtime interface, so that no connection is cut.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import PurePosixPath

from deploy.plan.service_plans import EntryPlan
from deploy.render import TEMPLATES
from deploy.services.container import environment
from deploy.services.container_parts import HealthCheck, Mount
from deploy.services.context import TMP, ServiceContext
from deploy.services.host_files import ConfigFile
from deploy.services.unit import Tier, Unit
from deploy.spec import SecretText
from deploy.spec.acme import AcmeSpec
from deploy.tls.pair import ENTRY_CERTIFICATE, ENTRY_KEY, EXTERNAL_ACCOUNT_KEY

IMAGE = "certbot"
PORT = 8080
"""Where it answers the authority; open only while it is asked."""
PROGRAM = "keep.py"
CONFIG = PurePosixPath("/etc/atelier")
STATE = PurePosixPath("/etc/letsencrypt")
REPORT = STATE / "report.json"
"""What came of the last try."""
SERVED = PurePosixPath("/certificates")
"""The volume that it shares with the entry, in both."""
CERTIFICATE = SERVED / "entry.pem"
SOCKET = SERVED / "haproxy-${HOSTNAME}.sock"
"""Of each HAProxy, which replaces the variable: for a while there are two."""
AUTHORITIES = "authorities.pem"
SCRATCH = (TMP, PurePosixPath("/var/lib/letsencrypt"), PurePosixPath("/var/log/letsencrypt"))


def container_name(context: ServiceContext) -> str:
    """Name of its container."""
    return context.container_name(IMAGE)


def served_mount(context: ServiceContext) -> dict[PurePosixPath, Mount]:
    """Where the entry finds its certificate, and puts its socket."""
    return {SERVED: Mount(kind="volume", source=f"{context.plan.name}-certificates")}


def units(context: ServiceContext) -> Iterator[Unit]:
    """The keeper of the certificate, where an authority issues it."""
    plan = context.plan.entry
    if plan is None or plan.spec.acme is None:
        return
    acme = plan.spec.acme
    config = context.config_tree(plan.host, IMAGE, _files(context, plan, acme))
    yield Unit(
        host=plan.host,
        tier=Tier.CERTIFICATE,
        serves="certificate",
        image_name=IMAGE,
        start_timeout_seconds=acme.start_timeout_seconds,
        config=config,
        runs=context.container(
            container_name(context),
            IMAGE,
            IMAGE,
            entrypoint="python3",
            command=(str(CONFIG / PROGRAM),),
            env=environment(acme.env) | _trusted(context),
            mounts={
                CONFIG: Mount(kind="bind", source=str(config.directory), read_only=True),
                STATE: Mount(kind="volume", source=f"{context.plan.name}-{IMAGE}"),
                **served_mount(context),
            },
            tmpfs=SCRATCH,
            memory_bytes=acme.memory_limit,
            # what whoever deployed alone may read
            cap_add=("DAC_OVERRIDE",),
            healthcheck=HealthCheck(
                command=f"test -s {CERTIFICATE} && test -s {REPORT}",
                start_period_seconds=acme.start_timeout_seconds,
            ),
        ),
    )


def _files(context: ServiceContext, plan: EntryPlan, acme: AcmeSpec) -> dict[str, ConfigFile]:
    settings = {
        "directory": acme.directory,
        "email": acme.email,
        "names": plan.names,
        "port": PORT,
    }
    first = SecretText(
        template="{certificate}{key}",
        secrets={"certificate": ENTRY_CERTIFICATE, "key": ENTRY_KEY},
    )
    files = {
        PROGRAM: ConfigFile(content=(TEMPLATES / IMAGE / PROGRAM).read_text("utf-8")),
        "settings.json": ConfigFile(content=json.dumps(settings, indent=2) + "\n"),
        "first.pem": ConfigFile(content=first, mode=0o600),
    }
    if context.acme_authorities:
        files[AUTHORITIES] = ConfigFile(content=context.acme_authorities)
    if acme.external_account:
        account = SecretText(
            template=f"eab-kid = {acme.external_account.key_id}\neab-hmac-key = {{key}}\n",
            secrets={"key": EXTERNAL_ACCOUNT_KEY},
        )
        files["account.ini"] = ConfigFile(content=account, mode=0o600)
    return files


def _trusted(context: ServiceContext) -> dict[str, str | SecretText]:
    """https://requests.readthedocs.io/en/latest/user/advanced/#ssl-cert-verification."""
    return {"REQUESTS_CA_BUNDLE": str(CONFIG / AUTHORITIES)} if context.acme_authorities else {}
