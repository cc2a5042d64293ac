"""New keys reach their people, and nobody else."""

from __future__ import annotations

import stat
from pathlib import Path

import pyrage
import pytest

from deploy.people.new_keys import Handover, NewKeys, make_key
from deploy.sealing import seal
from tests.people.conftest import plan_people

SSH = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN a@laptop"


@pytest.fixture
def to(tmp_path: Path) -> Handover:
    return Handover(tmp_path / ".secrets" / "demo-keys", "demo", "http://10.0.0.1:4000")


def test_keys_are_long_and_never_the_same() -> None:
    keys = {make_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(key.startswith("sk-") and len(key) >= 32 for key in keys)


def test_a_key_is_in_a_file_of_its_owner_alone(to: Handover) -> None:
    plan = plan_people(people=[{"name": "ada"}])
    keys = NewKeys.of(["ada"], plan.people)
    [path] = keys.hand_over(to)
    assert path.name == "ada.env"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().splitlines()[1:] == [
        "OPENAI_BASE_URL=http://10.0.0.1:4000/v1",
        f"OPENAI_API_KEY={keys.values['ada']}",
    ]
    assert (to.directory / ".gitignore").read_text() == "*\n"


def test_a_key_is_sealed_for_who_has_a_public_key(to: Handover) -> None:
    identity = pyrage.x25519.Identity.generate()
    public = str(identity.to_public())
    keys = NewKeys.of(["ada"], plan_people(people=[{"name": "ada", "public_key": public}]).people)
    to.write("ada", "sk-an-older-one", None)
    [path] = keys.hand_over(to)
    assert [each.name for each in to.directory.glob("ada*")] == ["ada.env.age"]
    sealed = path.read_bytes()
    assert keys.values["ada"].encode() not in sealed
    assert keys.values["ada"] in pyrage.decrypt(sealed, [identity]).decode()


def test_an_ssh_key_will_do(to: Handover) -> None:
    assert seal("text", SSH).startswith("-----BEGIN AGE ENCRYPTED FILE-----")


def test_what_is_not_a_public_key_is_refused() -> None:
    with pytest.raises(ValueError, match="invalid"):
        seal("text", "age1" + "q" * 58)


def test_keys_are_in_no_description() -> None:
    keys = NewKeys.of(["ada"], [])
    assert keys.values["ada"] not in repr(keys)
    assert keys.redact(f"refused: {keys.values['ada']}") == "refused: <key of ada>"
