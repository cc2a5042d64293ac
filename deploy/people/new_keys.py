"""New keys: made here, and handed over in a file for each person."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deploy.plan.people_plan import PersonPlan
from deploy.sealing import seal

OPEN, SEALED = ".env", ".env.age"
TEXT = """\
# {person}: your key for {deployment}. It is yours alone: whoever has it uses your quota.
OPENAI_BASE_URL={url}/v1
OPENAI_API_KEY={key}
"""


def make_key() -> str:
    """A key that no one can guess; LiteLLM wants it to begin so."""
    return f"sk-{secrets.token_urlsafe(24)}"


@dataclass(frozen=True)
class Handover:
    """Where new keys are put for their people.

    Attributes:
        directory: the operator's directory of keys; nothing but files of keys is in it.
        deployment: name of the deployment.
        url: address of the router.
    """

    directory: Path
    deployment: str
    url: str

    def path(self, person: str, public_key: str | None) -> Path:
        """The file of a person's key."""
        return self.directory / f"{person}{SEALED if public_key else OPEN}"

    def write(self, person: str, key: str, public_key: str | None) -> Path:
        """Write a person's key, sealed where they have a public key; readable by the owner alone.

        Raises:
            OSError: if that is not possible.
            ValueError: if the public key is none.
        """
        text = TEXT.format(person=person, deployment=self.deployment, url=self.url, key=key)
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        ignored = self.directory / ".gitignore"
        if not ignored.exists():
            ignored.write_text("*\n", encoding="utf-8")
        for suffix in (OPEN, SEALED):
            # what an earlier key was in would be taken for this one's
            (self.directory / f"{person}{suffix}").unlink(missing_ok=True)
        path = self.path(person, public_key)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(seal(text, public_key) if public_key else text)
        return path


@dataclass(frozen=True)
class NewKeys:
    """Keys that are about to be made; none is shown."""

    values: Mapping[str, str] = field(repr=False)
    """By person."""
    public_keys: Mapping[str, str | None]

    @classmethod
    def of(cls, names: Iterable[str], people: Iterable[PersonPlan]) -> NewKeys:
        """A new key for each name."""
        public_keys = {person.name: person.public_key for person in people}
        values = {name: make_key() for name in names}
        return cls(values, {name: public_keys.get(name) for name in values})

    def hand_over(self, to: Handover) -> list[Path]:
        """Write every key; before the router knows it, so that none is ever lost."""
        return [to.write(name, key, self.public_keys[name]) for name, key in self.values.items()]

    def redact(self, text: str) -> str:
        """A text without the keys."""
        for name, key in self.values.items():
            text = text.replace(key, f"<key of {name}>")
        return text
