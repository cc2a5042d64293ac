"""What the entry serves with: kept, renewed, or of the site, with an error for each bad file."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.artefacts import Artefacts, make_artefacts
from deploy.certificates import provide_certificate, root_certificate, trusted_by_clients
from deploy.errors import PlanError, SecretError
from deploy.operations import file_tree
from deploy.secrets import SecretStore
from deploy.secrets.fingerprint import KnownSecrets, find_disagreement, make_fingerprint
from deploy.services import Tier, Unit
from deploy.tls.pair import ENTRY_CERTIFICATE, ENTRY_KEY, Pair
from deploy.tls.read import read_certificate
from tests.conftest import MakeArtefacts, declare
from tests.recognisable import write_secrets
from tests.tls.site import encrypted, site_pair, write_pair

NAME = "ai.lab.example"
OWN: dict[str, Any] = {"names": [NAME]}
SITE: dict[str, Any] = OWN | {"certificate": "site.crt", "key": "site.key"}


def load(directory: Path, **entry: Any) -> Artefacts:
    """What a later run has."""
    return make_artefacts(declare(entry=entry), directory)


def problem(directory: Path, **entry: Any) -> str:
    with pytest.raises(PlanError) as refused:
        load(directory, **(SITE | entry))
    return str(refused.value).replace(str(directory), "DIRECTORY")


def test_a_dry_run_keeps_nothing(make: MakeArtefacts, tmp_path: Path) -> None:
    before = (tmp_path / ".secrets" / "demo.yaml").exists()
    artefacts = make(entry=OWN)
    assert not before
    assert artefacts.secrets.issued == (f"a certificate authority, and a certificate for {NAME}",)
    assert "PRIVATE" not in artefacts.secrets.path.read_text()
    with pytest.raises(SecretError, match="has no certificate authority"):
        artefacts.secrets.require_kept()


def test_what_was_made_is_kept(make: MakeArtefacts, tmp_path: Path) -> None:
    artefacts = make(entry=OWN)
    artefacts.secrets.save()
    artefacts.secrets.require_kept()
    again = load(tmp_path, **OWN)
    assert again.secrets.issued == ()
    for name in (ENTRY_CERTIFICATE, ENTRY_KEY):
        assert again.secrets.value(name) == artefacts.secrets.value(name)
    assert again.secrets.path.stat().st_mode & 0o777 == 0o600
    assert again.secrets.value("router_master_key") == artefacts.secrets.value("router_master_key")


def test_other_names_need_another_certificate_of_the_same_authority(
    make: MakeArtefacts, tmp_path: Path
) -> None:
    artefacts = make(entry=OWN)
    artefacts.secrets.save()
    renewed = load(tmp_path, names=["10.0.0.5"])
    assert renewed.secrets.issued == (f"a certificate for 10.0.0.5 instead of {NAME}",)
    assert trusted_by_clients(renewed.secrets) == trusted_by_clients(artefacts.secrets)
    renewed.secrets.save()
    assert load(tmp_path, names=["10.0.0.5"]).secrets.issued == ()


def test_it_is_renewed_before_it_ends(make: MakeArtefacts) -> None:
    artefacts = make(entry=OWN)
    artefacts.secrets.save()
    store, plan = SecretStore(artefacts.secrets.path, {}), artefacts.plan.entry
    assert plan
    soon = datetime.now(UTC) + timedelta(days=380)
    provide_certificate("demo", plan, store, soon)
    assert store.issued == (f"a certificate for {NAME}: the one there is has 15 days left",)


def test_a_deployment_that_loses_its_entry_keeps_the_authority(
    make: MakeArtefacts, tmp_path: Path
) -> None:
    make(entry=OWN).secrets.save()
    without = make_artefacts(declare(), tmp_path)
    without.secrets.save()
    assert load(tmp_path, **OWN).secrets.issued == ()


@pytest.mark.parametrize("text", ["certificates: 3", "certificates: {authority: {key: x}}"])
def test_a_file_that_is_broken_is_not_quoted(tmp_path: Path, text: str) -> None:
    path = tmp_path / ".secrets" / "demo.yaml"
    write_secrets(path)
    path.write_text(f"{path.read_text()}{text}\n")
    with pytest.raises(SecretError, match="not a file of secrets"):
        load(tmp_path, **OWN)


def test_a_kept_certificate_that_cannot_be_read(make: MakeArtefacts, tmp_path: Path) -> None:
    artefacts = make(entry=OWN)
    artefacts.secrets.save()
    data = yaml.safe_load(artefacts.secrets.path.read_text())
    data["certificates"]["server"]["certificate"] = "leaked"
    artefacts.secrets.path.write_text(yaml.safe_dump(data))
    with pytest.raises(SecretError, match="what is kept of the authority cannot be read") as found:
        load(tmp_path, **OWN)
    assert "leaked" not in str(found.value)


# what a host knows of the authority


def test_a_host_knows_which_authority_clients_were_given(
    make: MakeArtefacts, tmp_path: Path
) -> None:
    artefacts = make(entry=OWN)
    known = KnownSecrets(make_fingerprint(artefacts.secrets))
    artefacts.secrets.save()
    assert find_disagreement(known, load(tmp_path, **OWN).secrets, "h", "demo") is None
    write_secrets(artefacts.secrets.path)
    refused = find_disagreement(known, load(tmp_path, **OWN).secrets, "h", "demo")
    assert refused
    assert "lacks the certificate authority of the entry" in refused.found


def test_a_host_without_an_entry_knows_of_none(demo: Artefacts, make: MakeArtefacts) -> None:
    known = make_fingerprint(demo.secrets)
    assert "authority" not in known
    assert find_disagreement(KnownSecrets(known), make(entry=OWN).secrets, "h", "demo") is None


# the site's own files


def test_files_of_the_site(tmp_path: Path) -> None:
    pair = site_pair(NAME)
    write_pair(pair, tmp_path)
    artefacts = load(tmp_path, **SITE)
    assert artefacts.secrets.issued == ()
    assert artefacts.secrets.value(ENTRY_KEY) == pair.key
    assert trusted_by_clients(artefacts.secrets) == pair.certificate
    with pytest.raises(PlanError, match="the certificate is the site's own"):
        root_certificate(artefacts.plan.entry, artefacts.secrets)


def test_a_file_may_lack_its_last_line_break(tmp_path: Path) -> None:
    pair = site_pair(NAME)
    write_pair(Pair(pair.certificate.rstrip(), pair.key.rstrip()), tmp_path)
    assert load(tmp_path, **SITE).secrets.value(ENTRY_CERTIFICATE) == pair.certificate


def test_files_that_are_not_there(tmp_path: Path) -> None:
    assert problem(tmp_path) == (
        "entry.certificate: no such file: DIRECTORY/site.crt\n"
        "    fix: give a path relative to the inventory, or put it there\n"
        "entry.key: no such file: DIRECTORY/site.key\n"
        "    fix: give a path relative to the inventory, or put it there"
    )


def test_a_directory_and_a_binary_file(tmp_path: Path) -> None:
    (tmp_path / "site.crt").mkdir()
    (tmp_path / "site.key").write_bytes(b"\x30\x82\xff")
    text = problem(tmp_path)
    assert "entry.certificate: cannot read DIRECTORY/site.crt: Is a directory" in text
    assert "entry.key: DIRECTORY/site.key is not text" in text


def test_a_key_of_another_certificate(tmp_path: Path) -> None:
    write_pair(Pair(site_pair().certificate, site_pair().key), tmp_path)
    assert "entry.key: not the key of the certificate: their public keys differ" in problem(
        tmp_path
    )


def test_the_authority_first_in_the_file(tmp_path: Path) -> None:
    pair = site_pair(NAME)
    server, root = pair.certificate.split("-----END CERTIFICATE-----\n")[:2]
    end = "-----END CERTIFICATE-----\n"
    write_pair(Pair(f"{root}{end}{server}{end}", pair.key), tmp_path)
    assert "the server's own stands first" in problem(tmp_path)


def test_a_key_with_a_passphrase(tmp_path: Path) -> None:
    pair = site_pair(NAME)
    write_pair(Pair(pair.certificate, encrypted(pair.key)), tmp_path)
    text = problem(tmp_path)
    assert "entry.key: the key is encrypted with a passphrase" in text
    assert "openssl pkey -in KEY -out NEW" in text


@pytest.mark.parametrize(
    ("certificate", "found"),
    [
        ("hello", "no line says BEGIN CERTIFICATE"),
        ("-----BEGIN CERTIFICATE-----\nleaked\n-----END CERTIFICATE-----\n", "cannot be read"),
    ],
)
def test_a_certificate_that_is_none(tmp_path: Path, certificate: str, found: str) -> None:
    write_pair(Pair(certificate, site_pair(NAME).key), tmp_path)
    text = problem(tmp_path)
    assert (
        f"entry.certificate: no certificate in PEM: {'what is there ' * (found[0] == 'c')}" in text
    )
    assert found in text
    assert "leaked" not in text


@pytest.mark.parametrize(
    "key", ["hello", "-----BEGIN PRIVATE KEY-----\nleaked\n-----END PRIVATE KEY-----\n"]
)
def test_a_key_that_is_none(tmp_path: Path, key: str) -> None:
    write_pair(Pair(site_pair(NAME).certificate, key), tmp_path)
    text = problem(tmp_path)
    assert "entry.key: no private key in PEM" in text
    assert "leaked" not in text


def test_a_name_that_is_not_covered(tmp_path: Path) -> None:
    write_pair(site_pair("ai.lab.example", "*.lab.example"), tmp_path)
    assert problem(tmp_path, names=["chat.lab.example", "ai.other.example", "10.0.0.5"]) == (
        "entry.names: the certificate does not cover ai.other.example, 10.0.0.5\n"
        "    allowed: ai.lab.example, *.lab.example\n"
        "    fix: declare names that it covers, or have it made for these"
    )


def test_an_expired_one_can_be_looked_at(tmp_path: Path) -> None:
    """It is refused when hosts are checked: status must still say what runs."""
    write_pair(site_pair(NAME, days_ago=400), tmp_path)
    served = load(tmp_path, **SITE).secrets.value(ENTRY_CERTIFICATE)
    assert read_certificate(served).ends.timestamp() < time.time()


# nothing of it is shown


def test_keys_are_in_no_description(make: MakeArtefacts) -> None:
    artefacts = make(entry=OWN)
    [unit] = artefacts.stack.tier(Tier.ENTRY)
    secrets, own = artefacts.secrets, artefacts.secrets.certificates
    assert own
    lines = [*own.server.key.splitlines(), *own.authority.key.splitlines()]
    shown = [
        unit.model_dump_json(),
        str(unit.create_arguments("demo", secrets.digest)),
        str(unit.config and file_tree._shown(unit.config.files["entry.pem.key"])),
        secrets.redact(f"{own.server.key} {own.authority.key}"),
        *(secrets.redact(f"cannot load {line}") for line in lines if "-----" not in line),
    ]
    for line in lines:
        if "-----" not in line:
            assert not any(line in text for text in shown)
    assert secrets.redact(lines[1]) == "<key of the entry>"


def test_the_file_on_the_host_is_for_its_owner_alone(make: MakeArtefacts) -> None:
    artefacts = make(entry=OWN)
    [unit] = artefacts.stack.tier(Tier.ENTRY)
    assert unit.config
    key, certificate = unit.config.files["entry.pem.key"], unit.config.files["entry.pem"]
    assert (key.is_secret, key.mode) == (True, 0o600)
    assert "BEGIN PRIVATE KEY" in file_tree._text(key, artefacts.secrets)
    assert "PRIVATE" not in file_tree._text(certificate, artefacts.secrets)


def test_a_renewed_certificate_is_served_by_the_same_container(make: MakeArtefacts) -> None:
    """A dry run announces what the run does, although each makes another certificate."""
    [[before], [after]] = (make(entry=OWN).stack.tier(Tier.ENTRY) for _ in range(2))
    assert after == before


def test_a_new_certificate_of_the_site_is_read_by_the_same_container(tmp_path: Path) -> None:
    units: list[Unit] = []
    for _ in range(2):
        write_pair(site_pair(NAME), tmp_path)
        units += load(tmp_path, **SITE).stack.tier(Tier.ENTRY)
    [before, after] = units
    assert before.config
    assert after.config
    assert before.config.files != after.config.files
    assert before.container == after.container
    assert load(tmp_path, **SITE).stack.tier(Tier.ENTRY) == (after,)
