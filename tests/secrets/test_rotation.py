"""Another value of a secret: which may have one, and what is kept of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from deploy.errors import SecretError
from deploy.secrets import SecretStore
from deploy.secrets.fingerprint import PERMANENT
from deploy.secrets.rotation import ROTATIONS, rotate
from deploy.spec import SecretName
from tests.cli.run import run
from tests.recognisable import SECRETS, write_secrets

REFUSED = {
    SecretName.DIGEST_KEY,
    SecretName.ROUTER_SALT_KEY,
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / ".secrets" / "demo.yaml"
    write_secrets(path)
    return path


def kept(path: Path) -> dict[str, str]:
    return dict(yaml.safe_load(path.read_text()))


def refusal(store: SecretStore, name: SecretName) -> str:
    with pytest.raises(SecretError) as error:
        rotate(store, name)
    return str(error.value)


def test_one_secret_changes_and_no_other(path: Path) -> None:
    before, store = kept(path), SecretStore(path, {})
    rotate(store, SecretName.ENGINE_API_KEY)
    after = kept(path)
    assert after.pop("engine_api_key") != before.pop("engine_api_key")
    assert after == before
    assert store.fingerprint == SecretStore(path, {}).fingerprint
    assert path.stat().st_mode & 0o777 == 0o600


def test_every_secret_says_what_another_value_brings(path: Path) -> None:
    assert set(ROTATIONS) == set(SecretName)
    assert {name for name, rotation in ROTATIONS.items() if rotation.refusal} == REFUSED
    assert set(PERMANENT) <= REFUSED
    assert all(rotation.instead for rotation in ROTATIONS.values() if rotation.refusal)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_some_never_change(path: Path, name: SecretName) -> None:
    before = path.read_text()
    said = refusal(SecretStore(path, {name: "sk-whatever-it-was"}), name)
    assert said.startswith(f"secrets.{name}: {ROTATIONS[name].refusal}")
    assert path.read_text() == before


def test_what_is_declared_changes_where_it_is_declared(path: Path) -> None:
    store = SecretStore(path, {SecretName.ENGINE_API_KEY: "sk-declared-elsewhere"})
    assert "declared in the inventory" in refusal(store, SecretName.ENGINE_API_KEY)


def test_both_values_are_kept_until_a_service_has_the_new_one(path: Path) -> None:
    name, store = SecretName.WEB_UI_ADMIN_PASSWORD, SecretStore(path, {})
    old = store.value(name)
    store.begin(name)
    again = SecretStore(path, {})
    assert again.before(name) == old
    assert again.value(name) == store.value(name) != old
    assert again.redact(f"{old} {store.value(name)}") == f"<{name} of before> <{name}>"
    again.end(name, told=True)
    assert "before" not in kept(path)
    assert SecretStore(path, {}).value(name) == store.value(name)


def test_the_value_before_comes_back(path: Path) -> None:
    before, name, store = kept(path), SecretName.WEB_UI_ADMIN_PASSWORD, SecretStore(path, {})
    store.begin(name)
    store.end(name, told=False)
    assert kept(path) == before


def test_what_there_is_none_of_does_not_change(path: Path) -> None:
    said = refusal(SecretStore(path, {}), SecretName.VALKEY_PASSWORD)
    assert "this deployment has none" in said


def test_nothing_changes_before_the_first_deployment(tmp_path: Path) -> None:
    store = SecretStore(tmp_path / "demo.yaml", {})
    assert "deploy first" in refusal(store, SecretName.ENGINE_API_KEY)


INVENTORY = """
from deploy import Deployment, Host, Model, pyinfra_hosts

deployment = Deployment(
    name="demo",
    profile="individual",
    hosts=[Host(name="@local")],
    models=[Model(name="tiny-coder")],
)
hosts = pyinfra_hosts(deployment, __file__)
"""


def test_what_is_kept_nowhere_yet_is_said(tmp_path: Path) -> None:
    (tmp_path / "lab.py").write_text(INVENTORY)
    listed = json.loads(run("secrets", "list", str(tmp_path / "lab.py"), "--json"))["secrets"]
    assert {row["from"] for row in listed} == {"nowhere yet"}
    write_secrets(tmp_path / ".secrets" / "demo.yaml")
    listed = json.loads(run("secrets", "list", str(tmp_path / "lab.py"), "--json"))["secrets"]
    assert {row["from"] for row in listed} == {"file"}


def test_the_command_shows_no_value(tmp_path: Path, path: Path) -> None:
    inventory = tmp_path / "lab.py"
    inventory.write_text(INVENTORY)
    listed = run("secrets", "list", str(inventory), "--json")
    assert {row["name"] for row in json.loads(listed)["secrets"]} >= {"engine_api_key"}
    changed = run("secrets", "rotate", str(inventory), "engine_api_key")
    assert f"pyinfra {inventory} deploy.py" in changed
    assert "no request fails" in " ".join(changed.split())
    unknown = run("secrets", "rotate", str(inventory), "engine_key", stream="stderr", status=1)
    assert "no such secret" in unknown
    said = listed + changed + unknown
    for value in {*SECRETS.values(), *kept(path).values()}:
        assert value not in said
