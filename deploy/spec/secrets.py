"""The secrets of a deployment, and where their values may come from."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import ClassVar

from pydantic import field_validator, model_validator

from deploy.spec.base import Spec, refusal


class SecretName(StrEnum):
    """Every secret that a deployment has."""

    ROUTER_MASTER_KEY = "router_master_key"
    """What clients send to the router; starts with ``sk-``."""
    ENGINE_API_KEY = "engine_api_key"
    """What the router sends to the engines."""
    WEB_UI_SECRET_KEY = "web_ui_secret_key"
    """Signs the web UI's sessions; a new one logs everybody out."""
    WEB_UI_ADMIN_PASSWORD = "web_ui_admin_password"
    """Password of the web UI's first administrator."""
    DIGEST_KEY = "digest_key"
    """Keys the digests by which changed secrets are recognised on the hosts."""


VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class SecretSource(Spec):
    """Where one secret comes from: exactly one of the three."""

    hide_values: ClassVar[bool] = True

    env: str | None = None
    """Name of an environment variable of this machine."""
    file: Path | None = None
    """A file on this machine, relative to the inventory; its last newline is dropped."""
    command: tuple[str, ...] | None = None
    """A command and its arguments that print the secret, e.g. ``["pass", "show", "router"]``."""

    @field_validator("env")
    @classmethod
    def _env_is_a_name(cls, env: str | None) -> str | None:
        if env and not VARIABLE.fullmatch(env):
            # somebody may have put the secret itself there: it is not quoted
            raise refusal(
                "not the name of an environment variable",
                "letters, digits and underscores",
                "name the variable that holds the secret, never the secret itself",
            )
        return env

    @model_validator(mode="after")
    def _exactly_one(self) -> SecretSource:
        declared = [name for name in ("env", "file", "command") if getattr(self, name)]
        if len(declared) != 1:
            raise refusal(
                " and ".join(declared) or "no source",
                "exactly one of env, file, command",
                "leave the secret out to have it generated",
            )
        return self
