"""Whether the secrets of this machine are those that a host was deployed with."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path

import pytest

from deploy.secrets import ALWAYS, SecretStore
from deploy.secrets.fingerprint import (
    KnownSecrets,
    are_new_wanted,
    find_disagreement,
    make_fingerprint,
    secrets_in_labels,
)
from deploy.spec import SecretName, SecretText
from tests.recognisable import LEAK, SECRETS, write_secrets

DIGEST_KEY = SECRETS[SecretName.DIGEST_KEY]


@pytest.fixture
def own(tmp_path: Path) -> SecretStore:
    """The secrets of the machine that deployed."""
    write_secrets(tmp_path / "own.yaml")
    return SecretStore(tmp_path / "own.yaml", {})


def problem(known: KnownSecrets, secrets: SecretStore) -> str:
    found = find_disagreement(known, secrets, "gpu1", "lab")
    return found.found if found else ""


def test_the_fingerprint_is_keyed_and_tells_no_secret(own: SecretStore) -> None:
    text = make_fingerprint(own)
    message = b"fingerprint of the secrets of a deployment"
    keyed = hmac.new(DIGEST_KEY.encode(), message, hashlib.sha256).hexdigest()
    assert json.loads(text) == {"fingerprint": f"hmac:{keyed}", "secrets": sorted(SECRETS)}
    assert LEAK not in text


def test_the_same_secrets(own: SecretStore) -> None:
    assert problem(KnownSecrets(make_fingerprint(own)), own) == ""
    assert problem(KnownSecrets(), own) == ""


def test_one_secret_may_be_another(own: SecretStore) -> None:
    """Rotating a secret is declared, or written into the file."""
    known = KnownSecrets(make_fingerprint(own))
    declared = SecretStore(own.path, {SecretName.ENGINE_API_KEY: "sk-rotated-engine"})
    assert problem(known, declared) == ""


def test_a_clone_without_the_file(own: SecretStore, tmp_path: Path) -> None:
    clone = SecretStore(tmp_path / "lab.yaml", {})
    found = problem(KnownSecrets(make_fingerprint(own)), clone)
    assert f"{tmp_path}/lab.yaml does not exist, so that this machine lacks digest_key, " in found
    # before anything was deployed they are made up, as ever
    assert problem(KnownSecrets(), clone) == ""


def test_a_clone_whose_digest_key_is_declared(own: SecretStore, tmp_path: Path) -> None:
    declared = {SecretName.DIGEST_KEY: DIGEST_KEY}
    clone = SecretStore(tmp_path / "lab.yaml", declared)
    found = problem(KnownSecrets(make_fingerprint(own)), clone)
    assert "lacks engine_api_key, router_master_key, web_ui_admin_password" in found


def test_a_file_of_another_deployment(own: SecretStore, tmp_path: Path) -> None:
    other = SecretStore(tmp_path / "lab.yaml", {})
    other.save()
    kept = SecretStore(other.path, {})
    found = problem(KnownSecrets(make_fingerprint(own)), kept)
    assert found.endswith(f"{kept.path} holds other secrets than those")


def test_a_secret_that_only_this_version_knows(own: SecretStore, tmp_path: Path) -> None:
    """It is new, not lost."""
    known = json.loads(make_fingerprint(own))
    known["secrets"].remove("web_ui_secret_key")
    lines = own.path.read_text().splitlines()
    path = tmp_path / "older.yaml"
    path.write_text("\n".join(line for line in lines if "web_ui_secret_key" not in line))
    assert problem(KnownSecrets(json.dumps(known)), SecretStore(path, {})) == ""
    assert "lacks web_ui_secret_key" in problem(
        KnownSecrets(make_fingerprint(own)), SecretStore(path, {})
    )


@pytest.mark.parametrize("text", ["{}", "garbage", "[]"])
def test_a_fingerprint_that_says_nothing_is_of_other_secrets(own: SecretStore, text: str) -> None:
    assert "holds other secrets" in problem(KnownSecrets(text), own)


def test_hosts_from_before_there_were_fingerprints(own: SecretStore, tmp_path: Path) -> None:
    labels = [
        json.dumps({"secret_env": {"KEY": own.digest(SecretText.of(SecretName.ENGINE_API_KEY))}}),
        json.dumps(
            {"secret_env": {"MASTER": own.digest(SecretText.of(SecretName.ROUTER_MASTER_KEY))}}
        ),
        *("<no value>", "[]", "{}", ""),
    ]
    known = KnownSecrets(digests=secrets_in_labels(labels))
    assert len(known.digests) == 2
    assert problem(known, own) == ""
    # one of two was rotated
    rotated = SecretStore(own.path, {SecretName.ENGINE_API_KEY: "sk-rotated-engine"})
    assert problem(known, rotated) == ""
    clone = SecretStore(tmp_path / "lab.yaml", {})
    assert "does not exist" in problem(known, clone)
    clone.save()
    assert "holds other secrets" in problem(known, SecretStore(clone.path, {}))


@pytest.mark.parametrize(
    ("data", "variable", "wanted"),
    [
        ("yes", "", True),
        (True, "", True),
        (1, "", True),
        (None, "1", True),
        (None, "YES", True),
        (None, "", False),
        ("no", "", False),
        (False, "0", False),
    ],
)
def test_insisting(
    data: object, variable: str, wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATELIER_NEW_SECRETS", variable)
    assert are_new_wanted(data) is wanted


def test_a_salt_is_the_same_for_ever(own: SecretStore, tmp_path: Path) -> None:
    def with_salt(salt: str) -> SecretStore:
        names = ALWAYS | {SecretName.ROUTER_SALT_KEY}
        return SecretStore(own.path, {SecretName.ROUTER_SALT_KEY: salt}, needed=names)

    known = KnownSecrets(make_fingerprint(with_salt("sk-leaked-first-salt")))
    assert LEAK not in known.text
    assert problem(known, with_salt("sk-leaked-first-salt")) == ""
    found = find_disagreement(known, with_salt("sk-leaked-other-salt"), "gpu1", "lab")
    assert found is not None
    assert found.path == "secrets.router_salt_key"
    assert "encrypted in its database" in found.allowed
    assert LEAK not in str(found)
    # a deployment without a database has none, before and after
    assert problem(KnownSecrets(make_fingerprint(own)), with_salt("sk-leaked-first-salt")) == ""
    assert problem(known, own) == ""
