"""A certificate that an authority issues: what is declared, what runs, and what the entry does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from deploy import Acme, Entry, ExternalAccount, Secret
from deploy.artefacts import Artefacts, make_artefacts
from deploy.certificates import root_certificate
from deploy.errors import PlanError, SecretError
from deploy.operations.questions import subject_of
from deploy.services import Tier, Unit
from deploy.services.runs import Marks
from deploy.spec import SecretText
from deploy.spec.acme import LETS_ENCRYPT
from tests.conftest import MakeArtefacts, declare
from tests.golden import assert_golden
from tests.services.test_haproxy import entry, rules, sections
from tests.tls.site import site_pair

GOLDEN = Path(__file__).parent / "golden"
NAME = "ai.lab.example"
HMAC = "c2VjcmV0LWtleS1vZi10aGUtc2l0ZQ"
ACME: dict[str, Any] = {"names": [NAME], "acme": {"terms_agreed": True}}
ACCOUNT = {"key_id": "kid-7", "hmac": {"env": "EAB_HMAC"}}


def with_acme(**acme: Any) -> dict[str, Any]:
    return ACME | {"acme": ACME["acme"] | acme}


def keeper(artefacts: Artefacts) -> Unit:
    [unit] = artefacts.stack.tier(Tier.CERTIFICATE)
    return unit


def settings(unit: Unit) -> dict[str, Any]:
    assert unit.config
    found: dict[str, Any] = json.loads(str(unit.config.files["settings.json"].content))
    return found


def test_the_words_of_an_inventory() -> None:
    account = ExternalAccount(key_id="kid-7", hmac=Secret(env="EAB_HMAC"))
    declared = Entry(names=[NAME], acme=Acme(terms_agreed=True, external_account=account))
    assert declared.acme
    assert declared.acme.directory == LETS_ENCRYPT
    assert not declared.has_own_authority
    assert Entry().has_own_authority


def test_it_starts_before_the_entry_on_its_host(make: MakeArtefacts) -> None:
    hosts = [
        {"name": "a.lab.example", "address": "10.0.0.1"},
        {"name": "b.lab.example", "address": "10.0.0.2"},
    ]
    router = {"host": "a.lab.example", "listen": "10.0.0.1"}
    made = make(hosts=hosts, router=router, web_ui=None, entry=ACME | {"host": "b.lab.example"})
    unit = keeper(made)
    assert (unit.name, unit.host) == ("demo-certbot-0", "b.lab.example")
    tiers = made.stack.tiers()
    assert tiers.index(Tier.CERTIFICATE) < tiers.index(Tier.ENTRY)
    # it may move: another is issued there
    assert not unit.is_stateful


def test_there_is_none_without_an_authority(make: MakeArtefacts) -> None:
    assert make(entry={}).stack.tier(Tier.CERTIFICATE) == ()


def test_it_has_no_rights_but_to_read_what_it_was_given(make: MakeArtefacts) -> None:
    container = keeper(make(entry=ACME)).container
    assert (container.user, container.read_only) == ("0:0", True)
    assert (container.cap_drop, container.cap_add) == (("ALL",), ("DAC_OVERRIDE",))
    assert container.ports == ()
    arguments = container.create_arguments(Marks("lab", ""), str)
    assert arguments[arguments.index("--entrypoint") + 1] == "python3"
    assert arguments[-2:] == [container.image, "/etc/atelier/keep.py"]


def test_both_share_a_volume_and_only_one_has_the_account(make: MakeArtefacts) -> None:
    made = make(entry=ACME)
    assert keeper(made).volumes == ("demo-certbot", "demo-certificates")
    assert entry(made).volumes == ("demo-listener", "demo-certificates")


def test_what_it_asks_for(make: MakeArtefacts) -> None:
    made = make(entry=ACME | {"names": [NAME, "chat.lab.example"]})
    assert settings(keeper(made)) == {
        "directory": LETS_ENCRYPT,
        "email": None,
        "names": [NAME, "chat.lab.example"],
        "port": 8080,
    }
    unit = keeper(make(entry=with_acme(email="a@lab.example", directory="https://ca.lab/acme")))
    assert settings(unit)["email"] == "a@lab.example"
    assert settings(unit)["directory"] == "https://ca.lab/acme"
    assert unit.config
    assert set(unit.config.files) == {"keep.py", "settings.json", "first.pem"}
    assert unit.container.env == {}


def test_an_authority_that_systems_do_not_know(tmp_path: Path) -> None:
    pem = site_pair().certificate
    (tmp_path / "ca.pem").write_text(pem)
    made = make_artefacts(declare(entry=with_acme(ca_file="ca.pem")), tmp_path)
    unit = keeper(made)
    assert unit.config
    assert unit.config.files["authorities.pem"].content == pem
    assert unit.container.env == {"REQUESTS_CA_BUNDLE": "/etc/atelier/authorities.pem"}
    with pytest.raises(PlanError, match=r"give them ca\.pem"):
        root_certificate(made.plan.entry, made.secrets)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (None, "entry.acme.ca_file: no such file: DIRECTORY/ca.pem"),
        ("hello", "entry.acme.ca_file: no certificate in PEM: no line says BEGIN CERTIFICATE"),
    ],
)
def test_a_file_of_authorities_that_is_none(tmp_path: Path, text: str | None, found: str) -> None:
    if text is not None:
        (tmp_path / "ca.pem").write_text(text)
    with pytest.raises(PlanError) as refused:
        make_artefacts(declare(entry=with_acme(ca_file="ca.pem")), tmp_path)
    assert str(refused.value).replace(str(tmp_path), "DIRECTORY").startswith(found)


def test_a_known_customer(make: MakeArtefacts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EAB_HMAC", HMAC)
    made = make(entry=with_acme(external_account=ACCOUNT))
    unit = keeper(made)
    assert unit.config
    file = unit.config.files["account.ini"]
    assert file.mode == 0o600
    assert isinstance(file.content, SecretText)
    assert made.secrets.render(file.content) == f"eab-kid = kid-7\neab-hmac-key = {HMAC}\n"
    shown = unit.model_dump_json() + str(unit.create_arguments("demo", made.secrets.digest))
    assert HMAC not in shown
    assert HMAC not in made.secrets.redact(f"refused {HMAC}")


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (None, "the environment variable EAB_HMAC is not set"),
        ("plain+base64/==", "a character that base64url does not have"),
        ("short", "5 characters"),
    ],
)
def test_a_customer_without_a_usable_key(
    make: MakeArtefacts, monkeypatch: pytest.MonkeyPatch, value: str | None, found: str
) -> None:
    if value is not None:
        monkeypatch.setenv("EAB_HMAC", value)
    with pytest.raises(SecretError) as refused:
        make(entry=with_acme(external_account=ACCOUNT))
    assert str(refused.value).startswith(f"entry.acme.external_account.hmac: {found}")
    assert not value or value not in str(refused.value)


def test_a_proxy_with_a_password(make: MakeArtefacts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROXY", "http://user:password@proxy.lab:3128")
    unit = keeper(make(entry=with_acme(env={"HTTPS_PROXY": {"env": "PROXY"}})))
    assert set(unit.container.secret_env) == {"HTTPS_PROXY"}


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ([], "entry.names: not declared, which leaves 127.0.0.1, localhost, which no certificate"),
        ([NAME, "10.0.0.5"], "entry.names: 10.0.0.5, which no certificate is issued for over ACME"),
    ],
)
def test_what_no_certificate_is_issued_for(
    make: MakeArtefacts, names: list[str], found: str
) -> None:
    with pytest.raises(PlanError) as refused:
        make(entry=ACME | {"names": names})
    assert str(refused.value).startswith(found)


# the entry


def test_the_authority_is_led_past_tls(make: MakeArtefacts) -> None:
    found = sections(entry(make(entry=ACME)))
    plain = found["frontend plain"]
    [proof] = rules(plain, "acl", "is_asked_by_authority")
    assert proof == ["path_beg", "/.well-known/acme-challenge/"]
    assert rules(plain, "use_backend") == [["certbot", "if", "is_asked_by_authority"]]
    [redirect] = rules(plain, "http-request", "redirect")
    assert redirect[-2:] == ["unless", "is_asked_by_authority"]
    [server] = rules(found["backend certbot"], "server")
    # without a check: it answers only while it is asked
    assert server == [
        *("certbot", "demo-certbot-0:8080"),
        *("resolvers", "docker", "init-addr", "last,libc,none"),
    ]


def test_the_certificate_is_taken_from_the_volume(make: MakeArtefacts) -> None:
    unit = entry(make(entry=ACME))
    found = sections(unit)
    [bind] = rules(found["frontend people"], "bind")
    assert bind[:4] == [":8443", "ssl", "crt", "/certificates/entry.pem"]
    sockets = rules(found["global"], "stats", "socket")
    own = "unix@/certificates/haproxy-${HOSTNAME}.sock"
    assert sockets[1] == [own, "mode", "600", "level", "admin"]
    assert unit.config
    assert set(unit.config.files) == {"haproxy.cfg"}


def test_a_renewal_is_no_change_of_a_deployment(make: MakeArtefacts) -> None:
    """Neither the entry's description nor the keeper's depends on what was issued."""
    [before, after] = (make(entry=ACME).stack for _ in range(2))
    assert after == before


def test_a_host_is_looked_at_for_what_an_authority_needs(make: MakeArtefacts) -> None:
    subject = subject_of(make(entry=ACME), "@local")
    assert (subject.issued_for, subject.authority_url) == ((NAME,), LETS_ENCRYPT)
    # the deployment's own is only served until there is another
    assert (subject.certificate, subject.own_certificates) == ("", None)
    other = subject_of(make(entry={}), "@local")
    assert (other.issued_for, other.authority_url) == ((), "")


@pytest.mark.golden
def test_both_as_they_were_last_looked_at(make: MakeArtefacts) -> None:
    made = make(entry=with_acme(email="admin@lab.example"))
    units = (keeper(made), entry(made))
    shown = [unit.model_dump(mode="json", exclude_defaults=True) for unit in units]
    # what is copied as it is has tests of its own
    del shown[0]["config"]["files"]["keep.py"]
    config = shown[1]["config"]["files"].pop("haproxy.cfg")["content"]
    text = json.dumps(shown, indent=2) + "\n"
    release = re.compile(r"(/config/(?:certbot|haproxy)/)[0-9a-f]{16}")
    assert_golden(GOLDEN / "acme.json", release.sub(r"\1RELEASE", text))
    assert_golden(GOLDEN / "acme.haproxy.cfg", config)
