"""What Open WebUI is told of logins: every variable was looked up in the source of 0.12.4."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from deploy import Ldap
from deploy.artefacts import Artefacts, make_artefacts
from deploy.errors import AtelierError
from deploy.plan.web_ui import OWN_TITLE
from deploy.services import Tier, Unit
from deploy.services.open_webui import SILENCE
from deploy.spec import SecretText
from deploy.tls.authority import make_authority
from tests.conftest import MakeArtefacts, declare
from tests.golden import assert_golden
from tests.services.test_golden import GOLDEN
from tests.services.test_haproxy import Section, rules, sections
from tests.services.test_vllm import CODER
from tests.services.test_vllm import made as on_gpus

OIDC: dict[str, Any] = {
    "issuer": "https://id.lab.example/realms/lab/",
    "client_id": "chat",
    "client_secret": {"env": "OIDC"},
}
LDAP: dict[str, Any] = {
    "url": "ldaps://ldap.lab.example",
    "search_base": "ou=people,dc=lab,dc=example",
}
ENTRY = {"names": ["ai.lab.example"]}
STORES: dict[str, Any] = {"postgres": {}, "valkey": {}, "entry": ENTRY}


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OIDC", "client-secret-0123")
    monkeypatch.setenv("LDAP", "bind-password-0123")


def web_uis(made: Artefacts) -> list[Unit]:
    return [unit for unit in made.stack.units if unit.image_name == "open-webui"]


def variables(made: Artefacts) -> dict[str, str]:
    """Of the first web UI; secrets by their names."""
    return {
        name: value.render(lambda secret: f"<{secret}>") if isinstance(value, SecretText) else value
        for name, value in web_uis(made)[0].container.env.items()
    }


def web_ui_backend(made: Artefacts) -> Section:
    """The entry's settings for web UIs."""
    [entry] = made.stack.tier(Tier.ENTRY)
    return sections(entry)["backend web_ui"]


def with_oidc(make: MakeArtefacts, **oidc: Any) -> dict[str, str]:
    return variables(make(entry=ENTRY, web_ui={"oidc": OIDC | oidc}))


def test_without_logins_of_the_site(make: MakeArtefacts) -> None:
    env = variables(make())
    assert {name for name in env if name.startswith(("OAUTH", "OPENID", "LDAP", "JWT"))} == set()
    assert (env["ENABLE_SIGNUP"], env["DEFAULT_USER_ROLE"]) == ("false", "user")
    assert "WEBUI_SESSION_COOKIE_SECURE" not in env


def test_a_provider(make: MakeArtefacts) -> None:
    env = with_oidc(make)
    found = "https://id.lab.example/realms/lab/.well-known/openid-configuration"
    assert env["OPENID_PROVIDER_URL"] == found
    assert env["OPENID_REDIRECT_URI"] == "https://ai.lab.example/oauth/oidc/callback"
    assert env["WEBUI_AUTH_SIGNOUT_REDIRECT_URL"] == "https://ai.lab.example/auth"
    assert (env["OAUTH_CLIENT_ID"], env["OAUTH_CLIENT_SECRET"]) == (
        "chat",
        "<web_ui.oidc.client_secret>",
    )
    assert env["ENABLE_OAUTH_SIGNUP"] == "true"
    assert env["ENABLE_OAUTH_PERSISTENT_CONFIG"] == "false"
    assert env["OAUTH_MERGE_ACCOUNTS_BY_EMAIL"] == "false"
    # the router knows people by the address that they have now
    assert env["OAUTH_UPDATE_EMAIL_ON_LOGIN"] == "true"
    assert env["JWT_EXPIRES_IN"] == "168h"
    assert env["WEBUI_SESSION_COOKIE_SECURE"] == env["WEBUI_AUTH_COOKIE_SECURE"] == "true"
    # everybody at the provider may come, and none of them administers
    assert env["ENABLE_OAUTH_ROLE_MANAGEMENT"] == "false"
    assert env["DEFAULT_USER_ROLE"] == "user"


@pytest.mark.parametrize(
    ("oidc", "claim", "allowed", "admins", "newcomers"),
    [
        ({"admin_groups": ["CN=it,OU=x"]}, "groups", "*", "CN=it,OU=x", "user"),
        ({"allowed_groups": ["a", "b"]}, "groups", "a|b", "", "pending"),
        (
            {"allowed_roles": ["chat"], "admin_roles": ["it"], "roles_claim": "realm.roles"},
            "realm.roles",
            "chat",
            "it",
            "pending",
        ),
    ],
)
def test_who_may_log_in_and_who_administers(
    make: MakeArtefacts,
    oidc: dict[str, Any],
    claim: str,
    allowed: str,
    admins: str,
    newcomers: str,
) -> None:
    env = with_oidc(make, **oidc)
    assert env["ENABLE_OAUTH_ROLE_MANAGEMENT"] == "true"
    assert env["OAUTH_ROLES_CLAIM"] == claim
    # as config.py reads both
    separator = env["OAUTH_ROLES_SEPARATOR"]
    found = [
        "|".join(role.strip() for role in env[name].split(separator) if role)
        for name in ("OAUTH_ALLOWED_ROLES", "OAUTH_ADMIN_ROLES")
    ]
    assert found == [allowed, admins]
    assert env["DEFAULT_USER_ROLE"] == newcomers


def test_a_directory(make: MakeArtefacts) -> None:
    bind = {"bind_dn": "cn=reader,dc=lab,dc=example", "bind_password": {"env": "LDAP"}}
    env = variables(make(web_ui={"ldap": LDAP | bind, "session_hours": 8}))
    assert env["ENABLE_LDAP"] == env["LDAP_USE_TLS"] == env["LDAP_VALIDATE_CERT"] == "true"
    assert (env["LDAP_SERVER_HOST"], env["LDAP_SERVER_PORT"]) == ("ldap.lab.example", "636")
    assert env["LDAP_APP_DN"] == "cn=reader,dc=lab,dc=example"
    assert env["LDAP_APP_PASSWORD"] == "<web_ui.ldap.bind_password>"
    assert env["LDAP_SEARCH_BASE"] == LDAP["search_base"]
    assert (env["LDAP_SEARCH_FILTER"], env["LDAP_CA_CERT_FILE"]) == ("", "")
    assert env["JWT_EXPIRES_IN"] == "8h"


def test_a_directory_at_an_address_of_ipv6(make: MakeArtefacts) -> None:
    """ldap3 takes no brackets in what is no URL."""
    env = variables(make(web_ui={"ldap": LDAP | {"url": "ldaps://[2001:db8::1]:1636"}}))
    assert (env["LDAP_SERVER_HOST"], env["LDAP_SERVER_PORT"]) == ("2001:db8::1", "1636")


def test_groups_of_a_directory_are_escaped_in_its_filter() -> None:
    ldap = Ldap(
        url="ldap://10.0.0.9:1389",
        trusted_network=True,
        search_base="dc=lab",
        filter="(objectClass=person)",
        allowed_groups=["cn=chat (all)*,dc=lab", r"cn=a\, b,dc=lab"],
    )
    assert (ldap.host, ldap.port, ldap.has_tls) == ("10.0.0.9", 1389, False)
    assert ldap.search_filter == (
        r"(objectClass=person)(|(memberOf=cn=chat \28all\29\2a,dc=lab)(memberOf=cn=a\5c, b,dc=lab))"
    )


def test_what_proves_them_is_mounted(tmp_path: Path) -> None:
    pem = make_authority("lab", datetime.now(UTC)).certificate
    (tmp_path / "ca.pem").write_text(pem)
    web_ui = {"oidc": OIDC | {"ca_file": "ca.pem"}, "ldap": LDAP | {"ca_file": "ca.pem"}}
    made = make_artefacts(declare(entry=ENTRY, web_ui=web_ui), tmp_path)
    (unit,) = web_uis(made)
    assert unit.config
    files = {name: file.content for name, file in unit.config.files.items()}
    assert set(files) == {"oidc.pem", "ldap.pem", SILENCE}
    assert (files["oidc.pem"], files["ldap.pem"]) == (pem, pem)
    env = variables(made)
    assert env["SSL_CERT_FILE"] == env["AIOHTTP_CLIENT_SSL_CERT_FILE"] == "/etc/atelier/oidc.pem"
    assert env["LDAP_CA_CERT_FILE"] == "/etc/atelier/ldap.pem"
    [mount] = [each for path, each in unit.container.mounts.items() if str(path) == "/etc/atelier"]
    assert mount.source == str(unit.config.directory)


def test_errors_of_its_database_are_silent_whoever_logs_in(tmp_path: Path) -> None:
    """Python runs a file of that name from the directories of PYTHONPATH."""
    made = make_artefacts(declare(entry=ENTRY), tmp_path)
    (unit,) = web_uis(made)
    assert unit.config
    assert set(unit.config.files) == {"sitecustomize.py"}
    paths = {str(path): mount for path, mount in unit.container.mounts.items()}
    assert paths[variables(made)["PYTHONPATH"]].source == str(unit.config.directory)
    with pytest.raises(AtelierError, match="PYTHONPATH"):
        make_artefacts(declare(web_ui={"env": {"PYTHONPATH": "/x"}}), tmp_path)


def test_what_proves_them_is_read_before_anything_is_touched(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("hello")
    web_ui = {"oidc": OIDC | {"ca_file": "ca.pem"}, "ldap": LDAP | {"ca_file": "no.pem"}}
    with pytest.raises(AtelierError) as refused:
        make_artefacts(declare(entry=ENTRY, web_ui=web_ui), tmp_path)
    text = str(refused.value)
    assert "web_ui.oidc.ca_file: no certificate in PEM" in text
    assert "web_ui.ldap.ca_file: no such file" in text


@pytest.mark.parametrize("setting", ["oidc.client_secret", "ldap.bind_password"])
def test_a_secret_without_a_value(
    make: MakeArtefacts, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    monkeypatch.delenv("OIDC" if "oidc" in setting else "LDAP")
    bind = {"bind_dn": "cn=reader,dc=lab", "bind_password": {"env": "LDAP"}}
    with pytest.raises(AtelierError, match=f"web_ui.{setting}: the environment variable"):
        make(entry=ENTRY, web_ui={"oidc": OIDC, "ldap": LDAP | bind})


def test_secrets_are_in_no_argument(make: MakeArtefacts) -> None:
    bind = {"bind_dn": "cn=reader,dc=lab", "bind_password": {"env": "LDAP"}}
    made = make(web_ui={"oidc": OIDC, "ldap": LDAP | bind}, entry=ENTRY)
    for unit in web_uis(made):
        arguments = " ".join(unit.create_arguments("demo", made.secrets.digest))
        assert "client-secret-0123" not in arguments
        assert "bind-password-0123" not in arguments
    assert made.secrets.redact("x client-secret-0123") == "x <web_ui.oidc.client_secret>"


def test_an_address_of_a_proxy_in_front(make: MakeArtefacts) -> None:
    env = variables(make(web_ui={"url": "https://chat.lab.example/", "oidc": OIDC}))
    assert env["OPENID_REDIRECT_URI"] == "https://chat.lab.example/oauth/oidc/callback"


def test_what_is_inside_is_not_asked_through_a_proxy(make: MakeArtefacts) -> None:
    env = variables(make(web_ui={"env": {"HTTPS_PROXY": "http://proxy.lab:3128"}}))
    assert env["NO_PROXY"] == "demo-litellm-0,localhost,127.0.0.1"
    # also where somebody has declared what else is not
    own = {"http_proxy": "http://proxy.lab:3128", "no_proxy": ".lab"}
    env = variables(make(web_ui={"env": own}))
    assert env["no_proxy"] == ".lab,demo-litellm-0,localhost,127.0.0.1"
    assert "NO_PROXY" not in env
    assert "NO_PROXY" not in variables(make(web_ui={"env": {"PROXY": "none"}}))


def test_several_share_everything_but_their_names(make: MakeArtefacts) -> None:
    made = make(web_ui={"replicas": 2, "drain_seconds": 30}, **STORES)
    first, second = web_uis(made)
    assert first.container.env == second.container.env
    assert first.container.mounts == second.container.mounts
    assert first.serves == second.serves
    assert (len(first.container.ports), second.container.ports) == (1, ())
    assert [unit.route.names for unit in (first, second) if unit.route] == [
        ("web_ui/demo-open-webui-0",),
        ("web_ui/demo-open-webui-1",),
    ]
    assert (first.drain_seconds, first.route and first.route.entry) == (30, "demo-haproxy-0")
    env = variables(made)
    assert env["WEBSOCKET_MANAGER"] == "redis"
    assert env["REDIS_URL"] == env["WEBSOCKET_REDIS_URL"]
    assert env["REDIS_URL"] == "redis://:<valkey_password>@demo-valkey-0:6379/0"
    assert env["REDIS_KEY_PREFIX"] == "demo-open-webui"
    # no longer than tasks.py counts an answer as being written: REDIS_TASK_TTL of 0.12.4
    assert env["REDIS_RESPONSE_STREAM_TTL"] == "300"


def test_the_entry_hands_people_to_all_of_them(make: MakeArtefacts) -> None:
    backend = web_ui_backend(make(web_ui={"replicas": 2}, **STORES))
    assert rules(backend, "balance") == [["leastconn"]]
    assert [server[:2] for server in rules(backend, "server")] == [
        ["demo-open-webui-0", "demo-open-webui-0:8080"],
        ["demo-open-webui-1", "demo-open-webui-1:8080"],
    ]


def test_an_entry_elsewhere_reaches_each_through_the_link(make: MakeArtefacts) -> None:
    made = make(
        hosts=[{"name": "10.0.0.1"}, {"name": "10.0.0.2"}],
        web_ui={"replicas": 2},
        **STORES | {"entry": ENTRY | {"host": "10.0.0.2"}},
    )
    listens = [address for unit in web_uis(made) for address in unit.runs.listens]
    assert listens == [("127.0.0.1", 3000)]
    servers = rules(web_ui_backend(made), "server")
    names = ["demo-open-webui-0", "demo-open-webui-1"]
    assert [server[:2] for server in servers] == [[name, "10.0.0.1:8443"] for name in names]


def test_one_does_without_valkey_unless_logins_end_there(make: MakeArtefacts) -> None:
    assert "REDIS_URL" not in variables(make(**STORES))
    env = variables(make(web_ui={"oidc": OIDC}, **STORES))
    assert "REDIS_URL" in env
    assert env["ENABLE_OAUTH_BACKCHANNEL_LOGOUT"] == "true"
    assert "WEBSOCKET_MANAGER" not in env


def test_documents_are_not_searched_by_several(make: MakeArtefacts) -> None:
    more: dict[str, Any] = {
        "models": [CODER, {"name": "bge-m3"}],
        # not the slim one, which searches nothing in any case
        "images": {"open-webui": {"reference": "ghcr.io/open-webui/open-webui:v0.12.4"}},
        **STORES,
    }
    one, two = (on_gpus(make, CODER, web_ui={"replicas": count}, **more) for count in (1, 2))
    assert variables(one)["RAG_EMBEDDING_MODEL"] == "bge-m3"
    assert variables(two)["BYPASS_EMBEDDING_AND_RETRIEVAL"] == "true"
    said = "documents are not searched with 2 web UIs"
    assert not any(said in warning for warning in one.plan.warnings)
    assert any(said in warning for warning in two.plan.warnings)


@pytest.mark.parametrize(
    ("users", "declared", "title", "warns"),
    [
        (50, None, "Atelier", False),
        (50, "Lab AI", "Lab AI", False),
        (51, None, OWN_TITLE, False),
        (51, OWN_TITLE, OWN_TITLE, False),
        (51, "Lab AI", "Lab AI", True),
    ],
)
def test_its_name_above_fifty_people(
    make: MakeArtefacts, users: int, declared: str | None, title: str, *, warns: bool
) -> None:
    made = make(users=users, web_ui={"title": declared})
    assert variables(made)["WEBUI_NAME"] == title
    assert any(text.startswith("web_ui.title: 'Lab AI'") for text in made.plan.warnings) is warns


def test_people_who_are_declared_count(make: MakeArtefacts) -> None:
    people = [{"name": f"p{index}"} for index in range(51)]
    made = make(people=people, web_ui={"title": "Lab AI"}, **STORES)
    [said] = [text for text in made.plan.warnings if text.startswith("web_ui.title")]
    assert "above 50 people" in said
    assert "clause 4 (branding)" in said


@pytest.mark.golden
def test_all_of_it_as_it_was_last_looked_at(make: MakeArtefacts) -> None:
    bind = {"bind_dn": "cn=reader,dc=lab,dc=example", "bind_password": {"env": "LDAP"}}
    oidc = OIDC | {"admin_groups": ["it"], "label": "Example Lab"}
    made = make(web_ui={"replicas": 2, "oidc": oidc, "ldap": LDAP | bind}, **STORES)
    shown = [unit.model_dump(mode="json", exclude_defaults=True) for unit in web_uis(made)]
    assert_golden(GOLDEN / "logins.json", json.dumps(shown, indent=2) + "\n")
