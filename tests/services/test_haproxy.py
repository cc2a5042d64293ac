"""The entry's container, and its configuration parsed back."""

from __future__ import annotations

import json
import re
import shlex

import pytest

from deploy.artefacts import Artefacts
from deploy.errors import PlanError
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


def test_services_of_another_host_are_found_at_its_address(make: MakeArtefacts) -> None:
    made = make(
        hosts=TWO_HOSTS,
        entry={"host": "b.lab.example"},
        router={"host": "a.lab.example", "listen": ANYWHERE, "replicas": 2},
        web_ui={"host": "a.lab.example", "listen": "10.0.0.1"},
    )
    found = sections(entry(made))
    assert rules(found["backend router"], "server") == [
        [ROUTER, "10.0.0.1:4000", "check"],
        ["demo-litellm-1", "10.0.0.1:4001", "check"],
    ]
    routers = [unit.container for unit in made.stack.tier(Tier.ROUTER)]
    assert [[p.host_port for p in each.ports] for each in routers] == [[4000], [4001]]
    assert rules(found["backend web_ui"], "server") == [
        ["demo-open-webui-0", "10.0.0.1:3000", "check"]
    ]


def test_services_out_of_reach(make: MakeArtefacts) -> None:
    with pytest.raises(PlanError) as refused:
        make(hosts=TWO_HOSTS, entry={"host": "b.lab.example"})
    assert str(refused.value) == (
        "router.listen: 127.0.0.1, which the entry on b.lab.example does not reach\n"
        "    allowed: '10.0.0.1', or '0.0.0.0' for every interface\n"
        "    fix: declare router=Router(listen='10.0.0.1'), or run both on one host\n"
        "web_ui.listen: 127.0.0.1, which the entry on b.lab.example does not reach\n"
        "    allowed: '10.0.0.1', or '0.0.0.0' for every interface\n"
        "    fix: declare web_ui=WebUI(listen='10.0.0.1'), or run both on one host"
    )


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
