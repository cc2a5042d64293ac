"""Where people of the tests log in: a provider of OpenID Connect, and a directory with the same."""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from deploy.catalog import load_catalog
from deploy.images import ImageBuildPlan, build_images, make_build_plan
from deploy.tls.authority import issue, make_authority
from tests.e2e.hosts import bridge, docker
from tests.e2e.site import free_port

HERE = Path(__file__).parent
FILES = ("requirements.txt", "provider.py", "directory.sh")
BASE = "litellm"
"""An image with the base that this one has, too."""
PLACE = "/etc/provider"
READER = "cn=reader,dc=lab,dc=example"
PEOPLE = "ou=people,dc=lab,dc=example"
GROUPS = "ou=groups,dc=lab,dc=example"
START_SECONDS = 60


@dataclass(frozen=True)
class Login:
    """Somebody who has an account."""

    name: str
    display_name: str
    password: str
    groups: tuple[str, ...] = ()

    @property
    def email(self) -> str:
        return f"{self.name}@lab.example"


@dataclass(frozen=True)
class Provider:
    """Both, on this machine."""

    name: str
    path: Path
    port: int
    directory_port: int
    authority: Path
    """PEM of what proves both."""

    @property
    def certificate(self) -> x509.Certificate:
        """What both show."""
        return x509.load_pem_x509_certificate((self.path / "tls.crt").read_bytes())

    @property
    def issuer(self) -> str:
        """Where containers of any network and this machine reach it."""
        return f"https://{bridge()}:{self.port}"

    @property
    def directory_url(self) -> str:
        return f"ldaps://{bridge()}:{self.directory_port}"

    def log(self, what: str = "oidc") -> str:
        command = ["docker", "logs", f"{self.name}-{what}"]
        return subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ).stdout


def build() -> str:
    """Build the image unless it is there; its tag is a digest of what it is built from."""
    base = make_build_plan(BASE, load_catalog()).base
    context = {name: (HERE / name).read_text() for name in FILES}
    dockerfile = (HERE / "Dockerfile").read_text()
    context["Dockerfile"] = dockerfile.replace("ARG BASE\n", f"ARG BASE={base.tag}\n")
    digest = hashlib.sha256(json.dumps(context).encode()).hexdigest()[:8]
    plan = ImageBuildPlan("provider", f"atelier-test/provider:{digest}", base, context)
    build_images([plan], report=lambda _line: None)
    return plan.tag


@contextmanager
def run_provider(
    name: str, path: Path, people: Sequence[Login], client: dict[str, object], bind_password: str
) -> Iterator[Provider]:
    """Both as long as the context lives.

    Args:
        name: of their containers.
        path: a directory for their files.
        people: who has an account.
        client: the web UI, as it is registered at the provider.
        bind_password: of the account that may look people up in the directory.
    """
    image, now = build(), datetime.now(UTC)
    authority = make_authority(name, now)
    pair = issue(authority, [bridge()], now)
    (path / "tls.crt").write_text(pair.certificate)
    (path / "tls.key").write_text(pair.key)
    (path / "ca.pem").write_text(authority.certificate)
    provider = Provider(name, path, free_port(), free_port(), path / "ca.pem")
    settings = {
        "secret": "not-a-secret-of-anybody",
        "address": provider.issuer.removeprefix("https://"),
        "people": {
            each.name: {
                "password": each.password,
                "formatted_name": each.display_name,
                "family_name": each.display_name.split()[-1],
                "emails": [each.email],
            }
            for each in people
        },
        "groups": _members(people),
        "clients": [client],
    }
    (path / "settings.json").write_text(json.dumps(settings))
    (path / "people.ldif").write_text("\n".join(_entries(people, bind_password)))
    _remove(provider)
    try:
        for what, port, command in (
            ("oidc", provider.port, ("/srv/venv/bin/python", "/srv/provider.py")),
            ("ldap", provider.directory_port, ("sh", "/srv/directory.sh")),
        ):
            docker(
                *("run", "--detach", "--name", f"{name}-{what}"),
                *("--publish", f"{bridge()}:{port}:8443"),
                *("--volume", f"{path}:{PLACE}:ro", image, *command, PLACE, "8443"),
            )
        _wait(provider)
        yield provider
    finally:
        _remove(provider)


def _members(people: Sequence[Login]) -> dict[str, list[str]]:
    names = dict.fromkeys(group for each in people for group in each.groups)
    return {name: [each.name for each in people if name in each.groups] for name in names}


def _entries(people: Sequence[Login], bind_password: str) -> Iterator[str]:
    """The directory's entries as LDIF; it notes of whom groups are by itself."""
    yield "dn: dc=lab,dc=example\nobjectClass: domain\ndc: lab\n"
    for dn in (PEOPLE, GROUPS):
        own = dn.partition(",")[0].replace("=", ": ")
        yield f"dn: {dn}\nobjectClass: organizationalUnit\n{own}\n"
    yield (
        f"dn: {READER}\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\n"
        f"cn: reader\nuserPassword: {bind_password}\n"
    )
    for each in people:
        yield (
            f"dn: uid={each.name},{PEOPLE}\nobjectClass: inetOrgPerson\nuid: {each.name}\n"
            f"cn: {each.display_name}\nsn: {each.display_name.split()[-1]}\nmail: {each.email}\n"
            f"userPassword: {each.password}\n"
        )
    for group, members in _members(people).items():
        listed = "\n".join(f"member: uid={member},{PEOPLE}" for member in members)
        yield f"dn: {group_dn(group)}\nobjectClass: groupOfNames\ncn: {group}\n{listed}\n"


def group_dn(group: str) -> str:
    """The distinguished name of a group; a comma in its own name is escaped."""
    return f"cn={group.replace(',', chr(92) + ',')},{GROUPS}"


def _wait(provider: Provider) -> None:
    """Until one answers and the other is filled."""
    asked = "import socket; socket.create_connection(('127.0.0.1', 8443))"
    for what, question in (("oidc", f'python3 -c "{asked}"'), ("ldap", "test -e /tmp/filled")):
        container, end = f"{provider.name}-{what}", time.monotonic() + START_SECONDS
        command = ("sh", "-c", f"{question} && echo yes")
        while docker("exec", container, *command, check=False) != "yes":
            assert time.monotonic() < end, provider.log(what)
            time.sleep(0.2)


def _remove(provider: Provider) -> None:
    docker("rm", "--force", f"{provider.name}-oidc", f"{provider.name}-ldap", check=False)
