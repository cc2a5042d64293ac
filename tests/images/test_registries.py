"""Registries: logins, certificates, and what to do when a pull fails."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from deploy.errors import AtelierError
from deploy.hosts.pulling import explain_pull
from deploy.images import make_registries
from deploy.secrets import load_secrets
from tests.conftest import declare

LOGIN = {"address": "registry.lab:5000", "username": "robot", "password": {"env": "LAB_TOKEN"}}


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("registry.lab:5000", "registry.lab:5000"),
        # where Docker's client looks for its own
        ("docker.io", "https://index.docker.io/v1/"),
    ],
)
def test_a_login(address: str, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_TOKEN", "leaked-token")
    spec = declare(registries=[LOGIN | {"address": address}])
    secrets = load_secrets(spec, Path())
    access = make_registries(spec, secrets.registry_passwords, Path())[address]
    [(where, login)] = json.loads(access.login)["auths"].items()
    assert (where, base64.b64decode(login["auth"]).decode()) == (key, "robot:leaked-token")
    assert login["auth"] not in repr(access)
    assert secrets.redact("wrong: leaked-token") == f"wrong: <password of {address}>"


def test_a_login_without_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAB_TOKEN", raising=False)
    with pytest.raises(AtelierError) as refused:
        load_secrets(declare(registries=[LOGIN]), Path())
    assert str(refused.value).startswith(
        "registries[0].password: the environment variable LAB_TOKEN is not set"
    )


def test_certificates(tmp_path: Path) -> None:
    spec = declare(registries=[{"address": "registry.lab", "ca": "ca.crt"}])
    for text in (None, "no certificate\n"):
        if text:
            (tmp_path / "ca.crt").write_text(text)
        with pytest.raises(AtelierError, match=r"registries\[0\]\.ca: no certificate in"):
            make_registries(spec, {}, tmp_path)
    (tmp_path / "ca.crt").write_text("-----BEGIN CERTIFICATE-----\nMII\n")
    access = make_registries(spec, {}, tmp_path)["registry.lab"]
    assert str(access.ca_path) == "/etc/docker/certs.d/registry.lab/ca.crt"


# messages of Docker 20.10 and 28
@pytest.mark.parametrize(
    ("said", "fix"),
    [
        (
            'Head "https://registry.lab/v2/x/manifests/v1": no basic auth credentials',
            "declare registries=[Registry(address='registry.lab', username=",
        ),
        (
            "pull access denied for x, repository does not exist or may require 'docker login': "
            "denied: requested access to the resource is denied",
            "declare registries=",
        ),
        (
            'Get "https://registry.lab/v2/": x509: certificate signed by unknown authority',
            "declare registries=[Registry(address='registry.lab', ca='ca.crt')]",
        ),
        (
            "manifest for registry.lab/x:v1 not found: manifest unknown",
            "registry.lab does not have registry.lab/x:v1",
        ),
        (
            'Get "https://registry.lab/v2/": dial tcp: lookup registry.lab: no such host',
            "the host does not reach registry.lab: declare registry_mirror, or bring the image",
        ),
        (
            'Get "https://registry.lab/v2/": dial tcp 10.0.0.7:443: connect: no route to host',
            "the host does not reach registry.lab",
        ),
        (
            'Get "https://registry.lab/v2/": context deadline exceeded',
            "the host does not reach registry.lab",
        ),
        (
            'error getting credentials - err: exec: "docker-credential-pass": executable file not '
            "found in $PATH, out: ``",
            "Docker's client keeps logins with a program that is not there",
        ),
        (
            "http: server gave HTTP response to HTTPS client",
            "registry.lab has no TLS",
        ),
        ("toomanyrequests: You have reached your pull rate limit", "registry.lab limits pulls"),
        (
            "no matching manifest for linux/arm64/v8 in the manifest list entries",
            "the image is for another architecture",
        ),
        ("write /var/lib/docker/tmp/x: no space left on device", "see what is full"),
        ("something that nobody has seen", ""),
    ],
)
def test_a_failed_pull_is_explained(said: str, fix: str) -> None:
    assert explain_pull(said, "registry.lab/x:v1", has_login=False).startswith(fix)


def test_a_login_that_is_refused() -> None:
    said = "unauthorized: authentication required"
    assert explain_pull(said, "registry.lab/x:v1", has_login=True) == (
        "check username and password of Registry(address='registry.lab')"
    )
