"""The entry's container, and its configuration parsed back."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

import pytest

from deploy.artefacts import Artefacts
from deploy.services import Tier, Unit
from deploy.services.haproxy import ADMIN, API
from tests.conftest import MakeArtefacts

Section = list[list[str]]
ANYWHERE = "0.0.0.0"  # noqa: S104 - declared, not bound
ROUTER = "demo-litellm-0"
TWO_HOSTS = [
    {"name": "a.lab.example", "address": "10.0.0.1"},
    {"name": "b.lab.example", "address": "10.0.0.2"},
]


def entry(artefacts: Artefacts) -> Unit:
    [unit] = artefacts.stack.tier(Tier.ENTRY)
    return unit


def sections(unit: Unit) -> dict[str, Section]:
    """The words of each line, by the line that begins their section."""
    assert unit.config
    found: dict[str, Section] = {}
    for line in str(unit.config.files["haproxy.cfg"].content).splitlines():
        if line and not line[0].isspace() and not line.startswith("#"):
            found[line] = []
        elif line.strip() and not line.strip().startswith("#"):
            found[list(found)[-1]].append(shlex.split(line.replace("\\", "\\\\")))
    return found


def rules(section: Section, *start: str) -> list[list[str]]:
    return [line[len(start) :] for line in section if line[: len(start)] == [*start]]


def answers(section: Section) -> dict[str, tuple[int, str]]:
    """Status and code of the error of each answer that the entry gives itself, by condition."""
    found = {}
    for line in rules(section, "http-request", "return", "status"):
        body = json.loads(line[line.index("string") + 1])
        condition = " ".join(line[line.index("if") + 1 :])
        if "error" in body:
            assert set(body["error"]) == {"message", "type", "param", "code"}
            found[condition] = (int(line[0]), body["error"]["code"])
    return found


@pytest.fixture
def unit(make: MakeArtefacts) -> Unit:
    return entry(make(entry={}))


def test_it_starts_last_and_gives_way_to_another_one(unit: Unit) -> None:
    assert (unit.name, unit.tier) == ("demo-haproxy-0", Tier.ENTRY)
    # the listener has the ports
    assert unit.container.ports == ()
    assert unit.gives_way


def test_it_reads_its_key_as_root_and_becomes_another_user(unit: Unit) -> None:
    assert unit.container.user == "0:0"
    assert unit.container.read_only
    assert unit.container.cap_drop == ("ALL",)
    assert unit.container.cap_add == ("DAC_OVERRIDE", "KILL", "SETGID", "SETUID")
    world = sections(unit)["global"]
    assert (rules(world, "uid"), rules(world, "gid")) == ([["65534"]], [["65534"]])


def test_router_and_web_ui_stay_on_the_machine_itself(make: MakeArtefacts) -> None:
    stack = make(entry={}).stack
    for tier in (Tier.ROUTER, Tier.WEB_UI):
        [other] = stack.tier(tier)
        assert [str(port.host_ip) for port in other.container.ports] == ["127.0.0.1"]


def test_an_answer_of_500_is_neither_retried_nor_held_against_the_router(
    make: MakeArtefacts,
) -> None:
    """LiteLLM answers it to a body that is no JSON object: a client's mistake, not a failure."""
    hosts = {"hosts": TWO_HOSTS, "router": {"host": "a.lab.example"}}
    for made in (make(entry={}), make(**hosts, entry={"host": "b.lab.example"})):
        found = sections(entry(made))
        retried = [line for section in found.values() for line in rules(section, "retry-on")]
        assert retried == [["conn-failure", "empty-response"]]
        for server in (line for section in found.values() for line in rules(section, "server")):
            # all that an observed error does is that its health is asked for sooner
            modes = {word: server[at + 1] for at, word in enumerate(server) if word == "on-error"}
            assert modes == ({"on-error": "fastinter"} if "observe" in server else {})


def test_there_is_none_unless_declared(demo: Artefacts) -> None:
    assert demo.stack.tier(Tier.ENTRY) == ()


def test_containers_are_found_by_name_whatever_their_address(unit: Unit) -> None:
    found = sections(unit)
    [router] = rules(found["backend router"], "server")
    assert router == [
        *(ROUTER, f"{ROUTER}:4000", "check"),
        *("resolvers", "docker", "init-addr", "last,libc,none"),
    ]
    [web_ui] = rules(found["backend web_ui"], "server")
    assert web_ui[:2] == ["demo-open-webui-0", "demo-open-webui-0:8080"]
    assert rules(found["resolvers docker"], "nameserver") == [["docker", "127.0.0.11:53"]]


def test_services_of_another_host_are_behind_its_link(make: MakeArtefacts) -> None:
    made = make(
        hosts=TWO_HOSTS,
        entry={"host": "b.lab.example"},
        router={"host": "a.lab.example", "replicas": 2},
        web_ui={"host": "a.lab.example"},
    )
    found = sections(entry(made))
    for backend, names, health in (
        ("router", [ROUTER, "demo-litellm-1"], "/health/liveliness"),
        ("web_ui", ["demo-open-webui-0"], "/health"),
    ):
        section = found[f"backend {backend}"]
        servers = rules(section, "server")
        assert [server[:3] for server in servers] == [
            [name, "10.0.0.1:8443", "check"] for name in names
        ]
        for server in servers:
            options = " ".join(server)
            assert "ssl-min-ver TLSv1.3 crt link.pem ca-file authority.pem" in options
            assert "verify required verifyhost a.lab.example.link" in options
            assert "check-sni a.lab.example.link" in options
            assert "sni str(a.lab.example.link)" in options
        # the link is told which one is asked, by requests and by checks
        assert rules(section, "http-send-name-header") == [["x-atelier-link"]]
        [sent] = rules(section, "http-check", "send")
        assert sent == ["meth", "GET", "uri", health, "hdr", "x-atelier-link", "%[srv_name]"]
        # what is to be tried at another one must be there as a whole
        assert ["option", "http-buffer-request"] in section


def test_services_of_another_host_are_in_no_network(make: MakeArtefacts) -> None:
    made = make(hosts=TWO_HOSTS, entry={"host": "b.lab.example"}, router={"replicas": 2})
    listens = [
        address
        for tier in (Tier.ROUTER, Tier.WEB_UI)
        for unit in made.stack.tier(tier)
        for address in unit.runs.listens
    ]
    assert listens == [("127.0.0.1", 4000), ("127.0.0.1", 3000)]


def test_it_has_the_certificate_of_its_host_for_links(make: MakeArtefacts) -> None:
    made = make(hosts=TWO_HOSTS, entry={"host": "b.lab.example"})
    config = entry(made).config
    assert config
    assert {"link.pem", "link.pem.key", "authority.pem"} < set(config.files)
    assert config.files["link.pem.key"].mode == 0o600
    assert made.secrets.links
    assert set(made.secrets.links.pairs) == {"a.lab.example server", "b.lab.example client"}
    assert "link.pem" not in getattr(entry(make(entry={})).config, "files", {})


def test_ports_that_are_in_the_network_without_need(make: MakeArtefacts) -> None:
    both = {"router": {"listen": "10.0.0.1"}, "web_ui": {"listen": ANYWHERE}}
    made = make(hosts=TWO_HOSTS, entry={"host": "b.lab.example"}, **both)
    said = [text for text in made.plan.warnings if ".listen:" in text]
    assert said == [
        "router.listen: port 4000 of a.lab.example is open at 10.0.0.1, without encryption; the"
        " entry goes through a link. Remove listen unless programs ask the router there directly",
        "web_ui.listen: port 3000 of a.lab.example is open at 0.0.0.0, without encryption; the"
        " entry goes through a link. Remove listen unless people open the web UI there directly",
    ]
    assert not any(".listen:" in text for text in make(entry={}, **both).plan.warnings)


@pytest.mark.parametrize(("port", "suffix"), [(443, ""), (8443, ":8443")])
def test_the_plain_port_leads_to_the_other(make: MakeArtefacts, port: int, suffix: str) -> None:
    found = sections(entry(make(entry={"https_port": port})))
    [redirect] = rules(found["frontend plain"], "http-request", "redirect")
    where = f"https://%[req.hdr(host),host_only]{suffix}%[pathq]"
    assert redirect == ["location", where, "code", "308"]
    assert len(found["frontend plain"]) == 2


def test_only_new_tls(unit: Unit) -> None:
    found = sections(unit)
    [options] = rules(found["global"], "ssl-default-bind-options")
    assert options[:2] == ["ssl-min-ver", "TLSv1.2"]
    [bind] = rules(found["frontend people"], "bind")
    assert bind == [":8443", "ssl", "crt", "entry.pem", "alpn", "h2,http/1.1"]


def test_what_it_serves_of_the_router(unit: Unit) -> None:
    people = sections(unit)["frontend people"]
    whole, below = rules(people, "acl", "is_served", "path")
    assert whole == list(API)
    assert below == ["-m", "beg", *(f"{path}/" for path in API)]
    assert {"/v1/chat/completions", "/v1/messages", "/v1/models"} <= set(API)
    assert answers(people) == {
        "from_a_busy_address": (429, "too_many_connections"),
        "asks_too_often": (429, "rate_limit_exceeded"),
        "climbs": (400, "bad_path"),
        "is_api !is_served !from_administrators": (404, "unknown_url"),
        "is_admin !from_administrators": (403, "forbidden"),
        "asks_for_health": (503, "service_unavailable"),
    }
    assert rules(people, "default_backend") == [["web_ui"]]


def test_administration_is_for_declared_networks(make: MakeArtefacts) -> None:
    networks = ["10.0.5.0/24", "fd00::/64"]
    given = make(entry={"router_admin": True, "router_admin_networks": networks})
    for made, wanted in (
        (given, [["src", *networks]]),
        (make(entry={}), [["always_false"]]),
    ):
        people = sections(entry(made))["frontend people"]
        assert rules(people, "acl", "from_administrators") == wanted
        assert rules(people, "acl", "is_admin", "path")[0] == list(ADMIN)


@pytest.mark.parametrize("routers", [{}, {"routers": [{"kind": "aristote"}, {"port": 4001}]}])
@pytest.mark.parametrize("web_ui", [None, {}])
def test_what_is_answered_comes_before_what_is_handed_on(
    make: MakeArtefacts, routers: dict[str, Any], web_ui: dict[str, Any] | None
) -> None:
    """Whatever the order in the file; HAProxy warns at each start where that is another one."""
    made = make(entry={}, web_ui=web_ui, postgres={"web_ui": False}, **routers)
    words = [line[0] for line in sections(entry(made))["frontend people"]]
    handed_on = [place for place, word in enumerate(words) if word == "use_backend"]
    answered = [place for place, word in enumerate(words) if word == "http-request"]
    assert max(answered) < min(handed_on)


def test_without_a_web_ui_the_rest_is_not_found(make: MakeArtefacts) -> None:
    found = sections(entry(make(entry={}, web_ui=None)))
    assert "backend web_ui" not in found
    people = found["frontend people"]
    assert (404, "unknown_url") in answers(people).values()
    assert "!is_api !is_admin !{ path /health/liveliness }" in answers(people)


def test_limits_of_one_address(make: MakeArtefacts) -> None:
    made = make(entry={"requests_per_minute": 7, "connections": 3})
    people = sections(entry(made))["frontend people"]
    assert rules(people, "acl", "asks_too_often") == [["sc0_http_req_rate", "gt", "7"]]
    assert rules(people, "acl", "from_a_busy_address") == [["sc0_conn_cur", "gt", "3"]]
    [table] = rules(people, "stick-table")
    assert "conn_cur,http_req_rate(1m)" in table
    assert rules(people, "tcp-request", "connection", "track-sc0") == [["src,ipmask(32,64)"]]


def test_only_the_entry_says_where_a_request_comes_from(unit: Unit) -> None:
    people = sections(unit)["frontend people"]
    [line] = rules(people, "http-request", "set-header", "X-Forwarded-For")
    assert line == ["%[src]"]
    deleted = [line[0] for line in rules(people, "http-request", "del-header")]
    assert deleted == ["forwarded", "x-forwarded-", "x-real-ip", "x-original-"]
    order = [line[:3] for line in people]
    assert order.index(["http-request", "del-header", "x-forwarded-"]) < order.index(
        ["http-request", "set-header", "X-Forwarded-For"]
    )


def test_streams_are_as_patient_as_the_router(make: MakeArtefacts) -> None:
    made = make(entry={}, router={"request_timeout_seconds": 1800})
    defaults = sections(entry(made))["defaults"]
    for side in ("client", "server"):
        assert rules(defaults, "timeout", side) == [["1860s"]]
    assert ["option", "http-no-delay"] in defaults
    assert rules(defaults, "timeout", "tunnel") == [["1h"]]


def test_its_own_errors_for_programs_are_openais(unit: Unit) -> None:
    found = rules(sections(unit)["backend router"], "http-error", "status")
    assert [line[0] for line in found] == ["500", "502", "503", "504"]
    for line in found:
        assert json.loads(line[line.index("string") + 1])["error"]["type"] == "server_error"
    assert not rules(sections(unit)["backend web_ui"], "http-error")


def test_its_log_has_no_queries(unit: Unit) -> None:
    [[text]] = rules(sections(unit)["defaults"], "log-format")
    assert re.findall(r"%\{\+Q,\+E\}(\w+)", text) == ["HM", "HPO"]
    assert "%HU" not in text


def test_the_web_ui_knows_the_addresses_of_the_entry(make: MakeArtefacts) -> None:
    made = make(entry={"names": ["ai.lab.example", "10.0.0.5"], "https_port": 8443})
    [unit] = made.stack.tier(Tier.WEB_UI)
    assert unit.container.plain_env["WEBUI_URL"] == "https://ai.lab.example:8443"
    assert unit.container.plain_env["CORS_ALLOW_ORIGIN"] == (
        "https://ai.lab.example:8443;https://10.0.0.5:8443;"
        "http://127.0.0.1:3000;http://localhost:3000"
    )
