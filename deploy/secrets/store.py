"""The values of a deployment's secrets: what comes from elsewhere, else generated once and kept."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from deploy.errors import Problem, SecretError
from deploy.secrets.kept import Kept, read_kept, write_kept
from deploy.secrets.values import MINIMUM_LENGTH, generate
from deploy.spec import SecretName, SecretText
from deploy.tls.pair import (
    ENTRY_CERTIFICATE,
    ENTRY_KEY,
    LINKS_AUTHORITY,
    LinkCertificates,
    LinkEnd,
    OwnCertificates,
    Pair,
)

FINGERPRINT_OF = b"fingerprint of the secrets of a deployment"
ALWAYS = frozenset(
    {
        SecretName.ROUTER_MASTER_KEY,
        SecretName.ENGINE_API_KEY,
        SecretName.WEB_UI_SECRET_KEY,
        SecretName.WEB_UI_ADMIN_PASSWORD,
        SecretName.DIGEST_KEY,
    }
)
"""What every deployment has."""


class SecretStore:
    """Every secret of one deployment.

    Secrets that are neither declared nor kept in the file are made up in memory; ``save`` keeps
    them. A dry run never saves.
    """

    def __init__(
        self,
        path: Path,
        declared: Mapping[SecretName, str],
        registry_passwords: Mapping[str, str] | None = None,
        others: Mapping[str, str] | None = None,
        needed: frozenset[SecretName] = ALWAYS,
    ) -> None:
        """Read what is kept, and make up what is missing.

        Args:
            path: the file in which generated secrets are kept.
            declared: values of the deployment's own secrets that come from elsewhere.
            registry_passwords: passwords by the registry's address.
            others: values of the secrets that environment variables are declared with, by name.
            needed: the deployment's own secrets that it does not do without.
        """
        self.path = path
        self.registry_passwords = dict(registry_passwords or {})
        kept = read_kept(path)
        self.certificates, self.links = kept.certificates, kept.links
        self._before = dict(kept.before)
        self._needed = needed
        self._declared = frozenset(declared)
        self._kept = frozenset(kept.values)
        self._values = dict(others or {})
        self._values |= {
            str(name): value for name, value in (dict(kept.values) | dict(declared)).items()
        }
        self.made_up = self.generated
        """Names of the secrets that this run made up, kept by now or not."""
        self._values |= {str(name): generate(name) for name in self.made_up}

        self._public: dict[str, str] = {}
        self._renewed: set[SecretName] = set()

    def serve_with(self, pair: Pair, own: OwnCertificates | None = None) -> None:
        """Let the entry have a certificate.

        Args:
            pair: what it serves with.
            own: where Atelier made it; kept by ``save``.
        """
        self._public[ENTRY_CERTIFICATE] = pair.certificate
        self._values[ENTRY_KEY] = pair.key
        self.certificates = own or self.certificates

    def link_with(self, own: LinkCertificates, ends: Iterable[LinkEnd]) -> None:
        """Let links have certificates; kept by ``save``.

        Args:
            own: their authority, and what it signed.
            ends: who has them.
        """
        self.links = own
        self._public[LINKS_AUTHORITY] = own.authority.certificate
        for end in ends:
            self._public[end.certificate_name] = own.pairs[end.key].certificate
            self._values[end.key_name] = own.pairs[end.key].key

    @property
    def issued(self) -> tuple[str, ...]:
        """What was made for the entry and for links just now, and why; kept by now or not."""
        made = (each.reasons for each in (self.certificates, self.links) if each)
        return tuple(reason for reasons in made for reason in reasons)

    @property
    def generated(self) -> tuple[SecretName, ...]:
        """Names of the secrets that are made up and not yet kept."""
        missing = self._needed - self._declared - self._kept
        return tuple(name for name in SecretName if name in missing)

    @property
    def names(self) -> tuple[SecretName, ...]:
        """Names of the deployment's own secrets that have a value."""
        known = self._needed | self._declared | self._kept
        return tuple(name for name in SecretName if name in known)

    def is_declared(self, name: SecretName) -> bool:
        """Whether its value comes from elsewhere."""
        return name in self._declared

    def renew(self, name: SecretName) -> None:
        """Make up another value for a secret that is kept, and keep that.

        Args:
            name: one of ``names`` that is not declared.
        """
        self._values[name] = generate(name)
        self._renewed.add(name)
        self.save()

    def before(self, name: SecretName) -> str:
        """What a service may still have; empty if it has the value."""
        return self._before.get(name, "")

    def begin(self, name: SecretName) -> None:
        """Renew a secret that a service must be told; the value before is kept until it knows.

        Args:
            name: one of ``names`` that is not declared.
        """
        self._before.setdefault(name, self._values[name])
        self.renew(name)

    def end(self, name: SecretName, *, told: bool) -> None:
        """The service has the new value, or keeps the one before.

        Args:
            name: what was begun.
            told: whether it has the new one.
        """
        before = self._before.pop(name)
        if not told:
            self._values[name] = before
            self._renewed.add(name)
        self.save()

    def value(self, name: str) -> str:
        """The secret itself; for containers and for the command that prints it."""
        return self._public.get(name) or self._values[name]

    def declared(self, name: SecretName) -> str:
        """A secret that a deployment may have none of; empty then."""
        return self._values.get(name, "")

    def render(self, text: SecretText) -> str:
        """A text with the secrets in it."""
        return text.render(self.value)

    def digest(self, text: SecretText) -> str:
        """A keyed digest by which a changed secret is recognised, and nothing else."""
        key = self._values[SecretName.DIGEST_KEY].encode()
        return "hmac:" + hmac.new(key, self.render(text).encode(), hashlib.sha256).hexdigest()[:24]

    @property
    def fingerprint(self) -> str:
        """By this a host recognises whether it is given the secrets that it had before."""
        key = self._values[SecretName.DIGEST_KEY].encode()
        return "hmac:" + hmac.new(key, FINGERPRINT_OF, hashlib.sha256).hexdigest()

    def redact(self, text: str) -> str:
        """The text with every secret replaced by its name."""
        passwords = {
            f"password of {address}": value for address, value in self.registry_passwords.items()
        }
        if self.certificates:
            passwords["key of the authority"] = self.certificates.authority.key
        if self.links:
            passwords["key of the links' authority"] = self.links.authority.key
        passwords |= {f"{name} of before": value for name, value in self._before.items()}
        names = self._values | passwords
        for name, value in sorted(names.items(), key=lambda item: -len(item[1])):
            for part in _recognisable_parts(value):
                text = text.replace(part, f"<{name}>")
        return text

    def require_kept(self) -> None:
        """Refuse to go on with secrets that no deployment knows.

        Raises:
            SecretError: if a secret is neither declared nor kept.
        """
        lacks = [str(name) for name in self.generated]
        if self.certificates and self.certificates.is_new:
            lacks.append("certificate authority")
        if self.links and self.links.is_new:
            lacks.append("certificate authority for links")
        if lacks:
            raise SecretError(
                Problem(
                    "secrets",
                    f"{self.path} has no {', '.join(lacks)}",
                    fix="deploy first: pyinfra INVENTORY deploy.py; or, if another machine "
                    f"deployed, copy {self.path.name} from there",
                )
            )

    def save(self) -> None:
        """Keep the generated secrets, readable by their owner only.

        What another run has kept meanwhile stays.

        Raises:
            SecretError: if that is not possible, or another run has made up the same ones.
        """
        found = read_kept(self.path)
        self._refuse_rivals(found)
        own = {name: self._values[name] for name in (*self.generated, *self._renewed)}
        before = {name: self._values[name] for name in self._kept}
        values = before | dict(found.values) | own
        write_kept(self.path, Kept(values, self.certificates, self.links, self._before))
        if self.certificates:
            self.certificates = replace(self.certificates, is_new=False)
        if self.links:
            self.links = replace(self.links, is_new=False)
        self._kept = frozenset(values)
        self._renewed.clear()

    def _refuse_rivals(self, found: Kept) -> None:
        made = [str(name) for name in self.generated if name in found.values]
        if self.certificates and self.certificates.is_new and found.certificates:
            made.append("certificate authority")
        if self.links and self.links.is_new and found.links:
            made.append("certificate authority for links")
        if made:
            said = f"another run has just made up {', '.join(made)}"
            fix = "run this again: it then uses what the other one made"
            raise SecretError(Problem(str(self.path), said, fix=fix))


def _recognisable_parts(value: str) -> list[str]:
    """A secret; of a key in PEM also each line, which is how programs print it."""
    lines = [line for line in value.splitlines() if len(line) >= MINIMUM_LENGTH]
    return [value, *(line for line in lines if "-----" not in line)]
