"""The value of one secret: where it comes from, and whether it can be used."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
from pathlib import Path

from deploy.errors import Problem, SecretError
from deploy.spec import SecretName, SecretSource

COMMAND_TIMEOUT_SECONDS = 60
MINIMUM_LENGTH = 8
IN_URLS = frozenset(
    {
        SecretName.ROUTER_DATABASE_PASSWORD,
        SecretName.WEB_UI_DATABASE_PASSWORD,
        SecretName.VALKEY_PASSWORD,
        SecretName.RABBITMQ_PASSWORD,
    }
)
"""What becomes a part of an address."""
BASE64URL = re.compile(r"[A-Za-z0-9_-]+=*")
PLAIN = re.compile(r"[A-Za-z0-9._~-]+")


def resolve(source: SecretSource, directory: Path, setting: str) -> str:
    """What a declared source holds: a variable, a file, or what a command prints.

    Args:
        source: where the secret comes from.
        directory: what a relative path is relative to.
        setting: what an error names.

    Raises:
        SecretError: if there is no value.
    """
    if source.env:
        if source.env not in os.environ:
            raise SecretError(
                Problem(
                    setting,
                    f"the environment variable {source.env} is not set",
                    fix=f"set it{_otherwise(setting)}",
                )
            )
        return os.environ[source.env]
    if source.file:
        path = directory / source.file
        try:
            return path.read_text(encoding="utf-8").removesuffix("\n")
        except (OSError, UnicodeDecodeError) as error:
            # a decoding error would quote the file
            reason = error.strerror if isinstance(error, OSError) else "not text"
            fix = f"make it readable{_otherwise(setting)}"
            found = f"cannot read {path}: {reason}"
            raise SecretError(Problem(setting, found, fix=fix)) from None
    return _run(source.command or (), directory, setting)


def _otherwise(setting: str) -> str:
    """What else can be done about a secret without a value: the deployment's own are generated."""
    others = f"secrets.{SecretName.HUGGINGFACE_TOKEN}"
    own = setting.startswith("secrets.") and setting != others
    return ", or leave the secret out to have it generated" if own else ""


def _run(command: tuple[str, ...], directory: Path, setting: str) -> str:
    fix = "run it by hand to see what it needs"
    try:
        result = subprocess.run(
            command,
            cwd=directory,
            capture_output=True,
            check=True,
            text=True,
            timeout=COMMAND_TIMEOUT_SECONDS,
        )
    except subprocess.CalledProcessError as error:
        found = f"{command[0]!r} failed with exit status {error.returncode}: {error.stderr.strip()}"
        raise SecretError(Problem(setting, found, fix=fix)) from None
    except subprocess.TimeoutExpired:
        found = f"{command[0]!r} took more than {COMMAND_TIMEOUT_SECONDS} s"
        raise SecretError(Problem(setting, found, fix=fix)) from None
    except UnicodeDecodeError:
        raise SecretError(Problem(setting, f"{command[0]!r} did not print text")) from None
    except OSError as error:
        found = f"cannot run {command[0]!r}: {error.strerror}"
        raise SecretError(Problem(setting, found, fix=fix)) from None
    return result.stdout.removesuffix("\n")


def require_usable(name: SecretName | None, value: str, setting: str) -> None:
    """Refuse a value that the system which is given it would not take.

    Args:
        name: the deployment's own secret; ``None`` of any other.
        value: its value, which is never quoted.
        setting: what the error names.

    Raises:
        SecretError: if it cannot be used.
    """
    if len(value) < MINIMUM_LENGTH:
        found = f"{len(value)} characters"
        raise SecretError(Problem(setting, found, f"at least {MINIMUM_LENGTH} characters"))
    if not value.isprintable():
        raise SecretError(
            Problem(setting, "a line break or a control character", "one line of printable text")
        )
    if name in IN_URLS and not PLAIN.fullmatch(value):
        raise SecretError(
            Problem(
                setting,
                "a character that stands for something else in an address",
                "letters, digits, '-', '.', '_' and '~'",
            )
        )
    if name is SecretName.ROUTER_MASTER_KEY and not value.startswith("sk-"):
        raise SecretError(
            Problem(setting, "does not start with 'sk-'", "LiteLLM only accepts keys like 'sk-...'")
        )


def require_one_line(value: str, setting: str) -> str:
    """Refuse what no other system can have given, without quoting it.

    Raises:
        SecretError: if it cannot be used.
    """
    require_usable(None, value, setting)
    return value


def require_plain(value: str, setting: str) -> str:
    """Refuse what would have to be escaped in a text with the secret in it, without quoting it.

    Raises:
        SecretError: if it cannot be used.
    """
    if not PLAIN.fullmatch(value):
        found = "a character that stands for something else where Aristote reads it"
        raise SecretError(Problem(setting, found, "letters, digits, '-', '.', '_' and '~'"))
    return value


def require_base64url(value: str, setting: str) -> str:
    """Refuse a key that is not written in base64url, without quoting it.

    Raises:
        SecretError: if it cannot be used.
    """
    require_usable(None, value, setting)
    if not BASE64URL.fullmatch(value):
        allowed = "base64url: letters, digits, '-' and '_'"
        raise SecretError(Problem(setting, "a character that base64url does not have", allowed))
    return value


def generate(name: SecretName) -> str:
    """A new value."""
    token = secrets.token_urlsafe(18 if name is SecretName.WEB_UI_ADMIN_PASSWORD else 32)
    return f"sk-{token}" if name.endswith("_key") and "secret" not in name else token
