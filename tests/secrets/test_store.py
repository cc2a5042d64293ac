"""Secrets: made up once, kept where only their owner reads them, and never quoted."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.errors import SecretError
from deploy.secrets import ALWAYS, SecretStore, load_secrets, needed_secrets
from deploy.secrets.kept import unwritable
from deploy.spec import SecretName, SecretText
from tests.conftest import declare
from tests.recognisable import LEAK, SECRETS, write_secrets


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".secrets" / "demo.yaml"


def test_secrets_are_generated_once(path: Path) -> None:
    first = SecretStore(path, {})
    assert set(first.generated) == ALWAYS
    first.save()
    second = SecretStore(path, {})
    assert second.generated == ()
    assert all(first.value(name) == second.value(name) for name in ALWAYS)
    assert len({first.value(name) for name in ALWAYS}) == len(ALWAYS)


def test_only_what_is_needed_is_generated() -> None:
    def more(**settings: Any) -> set[str]:
        return {str(name) for name in needed_secrets(declare(**settings)) - ALWAYS}

    external = {"env": "DATABASE"}
    assert more() == set()
    assert more(postgres={}, valkey={}) == {
        "router_salt_key",
        "router_database_password",
        "web_ui_database_password",
        "valkey_password",
    }
    assert more(postgres={"router_database_url": external, "web_ui": False}) == {"router_salt_key"}
    assert more(postgres={}, web_ui=None) == {"router_salt_key", "router_database_password"}
    assert more(valkey={"url": external}) == set()


def test_a_store_that_is_added_later_gets_its_password(path: Path) -> None:
    SecretStore(path, {}).save()
    later = SecretStore(path, {}, needed=ALWAYS | {SecretName.VALKEY_PASSWORD})
    assert later.generated == (SecretName.VALKEY_PASSWORD,)
    later.save()
    # and keeps it when the store goes
    assert SecretName.VALKEY_PASSWORD in SecretStore(path, {}).names


def test_passwords_in_addresses_are_plain(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("valkey_password: leaked/password\n")
    with pytest.raises(SecretError, match="stands for something else in an address") as refused:
        SecretStore(path, {})
    assert LEAK not in str(refused.value)


def test_nothing_is_written_before_save(path: Path) -> None:
    assert SecretStore(path, {}).value(SecretName.ROUTER_MASTER_KEY).startswith("sk-")
    assert not path.parent.exists()


def test_only_the_owner_reads_them_and_git_does_not_see_them(path: Path) -> None:
    old = os.umask(0)
    try:
        SecretStore(path, {}).save()
    finally:
        os.umask(old)
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)
    assert (path.parent / ".gitignore").read_text() == "*\n"
    assert sorted(item.name for item in path.parent.iterdir()) == [".gitignore", "demo.yaml"]


def test_a_leftover_of_a_killed_save_does_not_widen_the_mode(path: Path) -> None:
    path.parent.mkdir()
    path.with_suffix(".new").write_text("half")
    path.with_suffix(".new").chmod(0o666)
    SecretStore(path, {}).save()
    assert mode(path) == 0o600


def test_save_is_atomic(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.parent.mkdir()
    path.write_text("engine_api_key: sk-kept-before\n")
    before = path.read_text()

    def full_disk(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises(SecretError, match="cannot be written: No space left"):
        SecretStore(path, {}).save()
    assert path.read_text() == before


def test_what_another_run_kept_meanwhile_stays(path: Path) -> None:
    SecretStore(path, {}).save()
    first = SecretStore(path, {}, needed=ALWAYS | {SecretName.VALKEY_PASSWORD})
    second = SecretStore(path, {})
    second.renew(SecretName.ENGINE_API_KEY)
    first.save()
    kept = SecretStore(path, {}, needed=ALWAYS | {SecretName.VALKEY_PASSWORD})
    assert kept.generated == ()
    for store, name in (
        (second, SecretName.ENGINE_API_KEY),
        (first, SecretName.VALKEY_PASSWORD),
        (first, SecretName.DIGEST_KEY),
    ):
        assert kept.value(name) == store.value(name)


def test_of_two_runs_that_make_up_secrets_the_second_one_ends(path: Path) -> None:
    first, second = SecretStore(path, {}), SecretStore(path, {})
    first.save()
    with pytest.raises(SecretError, match="another run has just made up router_master_key, engine"):
        second.save()
    assert SecretStore(path, {}).fingerprint == first.fingerprint


def test_kept_secrets_stay_although_the_file_is_gone_meanwhile(path: Path) -> None:
    SecretStore(path, {}).save()
    store = SecretStore(path, {}, needed=ALWAYS | {SecretName.VALKEY_PASSWORD})
    path.unlink()
    store.save()
    assert SecretStore(path, {}).fingerprint == store.fingerprint


def test_kept_secrets_stay_when_a_new_one_is_needed(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("engine_api_key: sk-kept-before\n")
    store = SecretStore(path, {})
    assert SecretName.ENGINE_API_KEY not in store.generated
    store.save()
    assert yaml.safe_load(path.read_text())["engine_api_key"] == "sk-kept-before"
    assert SecretStore(path, {}).generated == ()


def test_declared_secrets_are_never_written(path: Path) -> None:
    store = SecretStore(path, {SecretName.ROUTER_MASTER_KEY: "sk-declared"})
    store.save()
    assert set(yaml.safe_load(path.read_text())) == ALWAYS - {"router_master_key"}
    assert "sk-declared" not in path.read_text()


def test_declared_secrets_win_over_kept_ones(path: Path) -> None:
    write_secrets(path)
    store = SecretStore(path, {SecretName.ROUTER_MASTER_KEY: "sk-declared"})
    assert store.value(SecretName.ROUTER_MASTER_KEY) == "sk-declared"
    assert store.value(SecretName.ENGINE_API_KEY) == SECRETS[SecretName.ENGINE_API_KEY]


def test_digests_are_stable_keyed_and_tell_nothing(path: Path, tmp_path: Path) -> None:
    write_secrets(path)
    name = SecretName.ENGINE_API_KEY
    text = SecretText.of(name)
    digest = SecretStore(path, {}).digest(text)
    assert digest == SecretStore(path, {}).digest(text)
    assert LEAK not in digest
    assert digest != SecretStore(path, {name: "sk-other-value"}).digest(text)
    other_key = {SecretName.DIGEST_KEY: "another-digest-key"}
    assert digest != SecretStore(path, other_key).digest(text)


def test_redact_names_what_it_hides(path: Path) -> None:
    write_secrets(path)
    said = SecretStore(path, {}).redact(f"key {SECRETS[SecretName.ENGINE_API_KEY]} refused")
    assert said == "key <engine_api_key> refused"


def test_redact_hides_the_longer_of_two_that_overlap(path: Path) -> None:
    store = SecretStore(
        path,
        {SecretName.ENGINE_API_KEY: "sk-12345", SecretName.ROUTER_MASTER_KEY: "sk-12345678"},
    )
    assert store.redact("sk-12345678 sk-12345") == "<router_master_key> <engine_api_key>"


def test_asking_before_deploying_is_refused(path: Path) -> None:
    store = SecretStore(path, {})
    with pytest.raises(SecretError, match="deploy first: pyinfra"):
        store.require_kept()
    store.save()
    store.require_kept()


@pytest.mark.parametrize(
    "text",
    [
        "engine_api_key: [leaked-engine-api\n",
        "- leaked-engine-api\n",
        "leaked-engine-api",
        "leaked_name: leaked-engine-api\n",
        "engine_api_key: leaked\n",
        'engine_api_key: "leaked-\\nengine"\n',
        "router_master_key: leaked-engine-api\n",
        "<<<<<<< leaked\nengine_api_key: leaked-engine-api\n=======\n",
        "engine_api_key: leaked-engine\nengine_api_key: leaked-engine\n",
        "engine_api_key: 0123456701234567\n",
        "",
        b"\xff\xfe leaked",
    ],
)
def test_a_broken_file_is_refused_without_quoting_it(path: Path, text: str | bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SecretError) as refused:
        SecretStore(path, {})
    assert str(path) in str(refused.value)
    assert LEAK not in str(refused.value)


def test_a_file_that_everybody_could_read_is_closed(path: Path) -> None:
    SecretStore(path, {}).save()
    path.chmod(0o644)
    SecretStore(path, {})
    assert mode(path) == 0o640


def test_a_place_that_cannot_be_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert unwritable(path) is None
    monkeypatch.setattr(os, "access", lambda *_: False)
    found = unwritable(path)
    assert found is not None
    assert f"this user may not write to {path.parent.parent}" in found.found


def test_a_file_that_cannot_be_read(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(SecretError, match="the file of secrets cannot be read: Is a directory"):
        SecretStore(path, {})


def test_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUTER_KEY", "sk-from-env")
    (tmp_path / "engine.key").write_text("from-file\n")
    spec = declare(
        secrets={
            "router_master_key": {"env": "ROUTER_KEY"},
            "engine_api_key": {"file": "engine.key"},
            "web_ui_admin_password": {"command": ["./bin/password", "command"]},
        }
    )
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "password").write_text('#!/bin/sh\necho "from $1"\n')
    (tmp_path / "bin" / "password").chmod(0o755)
    store = load_secrets(spec, tmp_path)
    assert store.value(SecretName.ROUTER_MASTER_KEY) == "sk-from-env"
    assert store.value(SecretName.ENGINE_API_KEY) == "from-file"
    assert store.value(SecretName.WEB_UI_ADMIN_PASSWORD) == "from command"
    assert set(store.generated) == {"web_ui_secret_key", "digest_key"}


def test_every_unusable_secret_is_reported_at_once(tmp_path: Path) -> None:
    spec = declare(secrets={"router_master_key": {"file": "a"}, "engine_api_key": {"file": "b"}})
    with pytest.raises(SecretError) as refused:
        load_secrets(spec, tmp_path)
    paths = [problem.path for problem in refused.value.problems]
    assert paths == ["secrets.router_master_key", "secrets.engine_api_key"]


def test_the_file_can_be_elsewhere(tmp_path: Path) -> None:
    store = load_secrets(declare(secrets_file="vault/demo"), tmp_path)
    store.save()
    assert mode(tmp_path / "vault" / "demo") == 0o600
    assert not (tmp_path / "vault" / ".gitignore").exists()
