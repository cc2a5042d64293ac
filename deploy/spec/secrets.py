"""The secrets of a deployment, and where their values may come from."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import (
    BaseModel,
    ConfigDict,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
    model_validator,
)

from deploy.errors import every
from deploy.spec.base import LocalPath, Spec, refusal


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
    ROUTER_SALT_KEY = "router_salt_key"
    """Encrypts what the router keeps in its database; it stays the same for ever."""
    ROUTER_DATABASE_PASSWORD = "router_database_password"
    """The router's, at PostgreSQL."""
    WEB_UI_DATABASE_PASSWORD = "web_ui_database_password"
    """The web UI's, at PostgreSQL."""
    VALKEY_PASSWORD = "valkey_password"
    """What the router sends to Valkey."""
    RABBITMQ_PASSWORD = "rabbitmq_password"
    """What Aristote's sender and consumers send to RabbitMQ."""
    DIGEST_KEY = "digest_key"
    """Keys the digests by which changed secrets are recognised on the hosts."""
    HUGGINGFACE_TOKEN = "huggingface_token"
    """Lets models be fetched that not everybody may have; only where it is declared."""


VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class SecretSource(Spec):
    """Where one secret comes from: exactly one of the three."""

    hide_values: ClassVar[bool] = True

    env: str | None = None
    """Name of an environment variable of this machine."""
    file: LocalPath | None = None
    """A file on this machine, relative to the inventory; its last newline is dropped."""
    command: tuple[str, ...] | None = None
    """A command and its arguments that print the secret, e.g. ``["pass", "show", "router"]``; it
    runs in the inventory's directory."""

    @property
    def name(self) -> str:
        """What it is called where its value must not be shown, e.g. ``variable HF_TOKEN``."""
        if self.env:
            return f"variable {self.env}"
        return f"file {self.file}" if self.file else f"output of {(self.command or ('',))[0]}"

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
                every(declared) or "no source",
                "exactly one of env, file, command",
                "say where the secret comes from, e.g. Secret(env='ROUTER_KEY')",
            )
        return self


class SecretText(BaseModel):
    """Text with secrets in it: it is described without them, and rendered where it is used."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")

    template: str
    """The text, with ``{placeholder}`` where a secret stands."""
    secrets: dict[str, str]
    """Names of the secrets, by placeholder."""

    @classmethod
    def of(cls, name: str) -> SecretText:
        """A secret and nothing else."""
        return cls(template="{secret}", secrets={"secret": name})

    def render(self, value: Callable[[str], str]) -> str:
        """The text with the secrets in it.

        Args:
            value: the value of a secret, by its name.
        """
        text = self.template
        for placeholder, name in self.secrets.items():
            text = text.replace("{" + placeholder + "}", value(name))
        return text


def _text_or_secret(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    """One error in the place of one for each type that a value could have."""
    if isinstance(value, str | SecretSource):
        return value
    if isinstance(value, dict):
        return handler(value)
    shown = repr(value) if isinstance(value, bool | int | float) else f"a {type(value).__name__}"
    raise refusal(shown, "text in quotes, or Secret(...)")


EnvironmentValue = Annotated[str | SecretSource, WrapValidator(_text_or_secret)]
"""The value of an environment variable, or where it comes from if it is a secret."""
SECRET_NAMES = re.compile(
    r"(^|_)(TOKEN|PASS|PASSWORD|PASSWD|PASSPHRASE|SECRET|CREDENTIALS"
    r"|(API|ACCESS|AUTH|ENCRYPTION|PRIVATE|SECRET|SIGNING)_?KEY)$|_PWD$"
)
SECRET_VALUES = re.compile(
    r"(?<=://)[^/\s:@]*:[^/\s]+(?=@)"
    r"|\b(hf_|sk-|gh[opsu]_|github_pat_|glpat-|xox[abp]-|AKIA)(\w+-)*[A-Za-z0-9]{16,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[^'\"]*"
)
"""Passwords in URLs, what well-known services give out as tokens, and private keys."""
SWITCHES = {"true", "false", "yes", "no", "on", "off", "none", "0", "1"}
"""Values of variables that turn something on or off, such as ``ENABLE_API_KEY``."""


def is_plain_secret(name: str, value: str) -> bool:
    """Whether the value of a variable or an argument is a secret, as far as one can see.

    Args:
        name: e.g. ``LAB_TOKEN`` or ``--hf-token``.
        value: what it is set to in the inventory.
    """
    if not value or value.lower() in SWITCHES:
        return False
    variable = name.lstrip("-").replace("-", "_").upper()
    return bool(SECRET_NAMES.search(variable) or SECRET_VALUES.search(value))


def without_secrets(text: str) -> str:
    """Text that somebody may read, with ``***`` in the place of what looks like a secret."""
    return SECRET_VALUES.sub("***", text)


def refuse_plain_secrets(env: dict[str, EnvironmentValue]) -> dict[str, EnvironmentValue]:
    """Refuse secrets that are written into the inventory, and what is no variable.

    Raises:
        PydanticCustomError: if a variable's name or value says that it is a secret in plain text,
            or its name is none.
    """
    for name, value in env.items():
        if not VARIABLE.fullmatch(name):
            raise refusal(f"a variable called {name!r}", "letters, digits and underscores")
        if isinstance(value, str) and is_plain_secret(name, value):
            raise refusal(
                f"{name} is a secret, and its value is in the inventory",
                f"{name} with Secret(env='...'), Secret(file='...') or Secret(command=[...])",
                f"set it in the environment and declare {{{name!r}: Secret(env={name!r})}}",
            )
    return env


def refuse_own_variables(
    env: dict[str, EnvironmentValue], own: dict[str, str]
) -> dict[str, EnvironmentValue]:
    """Refuse variables that Atelier sets.

    Args:
        env: the declared variables.
        own: the setting to declare instead, by variable; empty where there is none.

    Raises:
        PydanticCustomError: if one of them is declared.
    """
    for name in env:
        if name in own:
            instead = own[name]
            raise refusal(
                f"env sets {name}, which Atelier sets itself",
                "other variables",
                f"remove {name}" + (f", declare {instead}" if instead else ""),
            )
    return env
