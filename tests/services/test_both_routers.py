"""Aristote and LiteLLM in one deployment: what each is told, and where the entry leads."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from deploy.artefacts import Artefacts
from deploy.services import ContainerSpec, Tier, Unit
from deploy.services.haproxy import API
from deploy.spec import SecretText
from tests.conftest import MakeArtefacts
from tests.golden import assert_golden
from tests.services.profiles import GOLDEN
from tests.services.test_haproxy import entry, rules, sections

CHAT = {"name": "qwen2.5-coder-7b", "roles": ["chat"], "gpus": 1}
TYPE = {"name": "qwen2.5-coder-1.5b-base", "gpus": 1}
BOTH = {"name": "qwen2.5-coder-1.5b", "gpus": 1}
ARISTOTE, LITELLM = {"kind": "aristote"}, {"kind": "litellm", "port": 4001}
LAB: dict[str, Any] = {
    "hosts": [{"name": "10.0.0.1", "gpus": "4x l40s"}],
    "engine": {"kind": "vllm"},
    "models": [CHAT, TYPE, BOTH],
    "postgres": {},
    "entry": {},
}


@pytest.fixture
def lab(make: MakeArtefacts) -> Artefacts:
    return make(**LAB, routers=[ARISTOTE, LITELLM])


def named(artefacts: Artefacts, name: str) -> Unit:
    return next(unit for unit in artefacts.stack.units if unit.name == f"demo-{name}")


def container(artefacts: Artefacts, name: str) -> ContainerSpec:
    return named(artefacts, name).container


def text(value: str | SecretText) -> str:
    return value if isinstance(value, str) else value.render(lambda name: f"<{name}>")


def config(artefacts: Artefacts) -> dict[str, Any]:
    unit = named(artefacts, "litellm-0")
    assert unit.config
    read: dict[str, Any] = yaml.safe_load(str(unit.config.files["config.yaml"].content))
    return read


def test_each_router_has_its_own_containers(lab: Artefacts) -> None:
    names = [unit.name.removeprefix("demo-") for unit in lab.stack.units]
    assert [name for name in names if "vllm" not in name] == [
        "postgres-0",
        "rabbitmq-0",
        f"aristote-consumer-{CHAT['name']}-0",
        f"aristote-consumer-{BOTH['name']}-0",
        "aristote-sender-0",
        "litellm-0",
        "open-webui-0",
        "listener-0",
        "haproxy-0",
    ]
    assert {unit.name for unit in lab.stack.tier(Tier.ROUTER)} == {
        "demo-aristote-sender-0",
        "demo-litellm-0",
    }


def test_each_is_told_of_its_models(lab: Artefacts) -> None:
    told = {row["model_name"] for row in config(lab)["model_list"]}
    assert told == {TYPE["name"], BOTH["name"]}
    mapping = json.loads(text(container(lab, "aristote-sender-0").env["MODEL_HOST_MAPPING"]))
    assert set(mapping) == {CHAT["name"], BOTH["name"]}


def test_both_have_the_master_key_and_a_database_of_their_own(lab: Artefacts) -> None:
    sender, litellm = container(lab, "aristote-sender-0"), container(lab, "litellm-0")
    keys = sender.env["ATELIER_MASTER_KEY"], litellm.env["LITELLM_MASTER_KEY"]
    assert {text(key) for key in keys} == {"<router_master_key>"}
    postgres = container(lab, "postgres-0")
    assert postgres.env["ATELIER_DATABASES"] == "aristote litellm open_webui"
    passwords = [text(postgres.env[f"ATELIER_PASSWORD_{n}"]) for n in ("aristote", "litellm")]
    assert passwords == ["<router_database_password>"] * 2
    assert text(litellm.env["DATABASE_URL"]).endswith("@demo-postgres-0:5432/litellm")
    assert text(sender.env["DATABASE_URL"]).endswith("@demo-postgres-0:5432/aristote")
    # statements of Aristote have tokens in them
    assert "log_min_error_statement=panic" in postgres.command
    assert {"rabbitmq_password", "router_salt_key"} <= set(lab.secrets.names)


def test_who_is_first_is_nothing_to_the_stores(lab: Artefacts, make: MakeArtefacts) -> None:
    """PostgreSQL starts anew when it is told of its databases in another order."""
    other = make(**LAB, routers=[LITELLM, ARISTOTE])
    for name in ("postgres-0", "rabbitmq-0", "aristote-sender-0"):
        assert container(lab, name) == container(other, name)


def test_each_has_its_own_port(lab: Artefacts) -> None:
    ports = {
        name: [port.host_port for port in container(lab, name).ports]
        for name in ("aristote-sender-0", "litellm-0")
    }
    assert ports == {"aristote-sender-0": [4000], "litellm-0": [4001]}


def test_the_web_ui_asks_the_main_router(lab: Artefacts, make: MakeArtefacts) -> None:
    web_ui = container(lab, "open-webui-0").env
    assert web_ui["OPENAI_API_BASE_URLS"] == "http://demo-aristote-sender-0:8080/v1"
    assert "ENABLE_FORWARD_USER_INFO_HEADERS" not in web_ui
    assert json.loads(hooks(lab))["web_ui"] is None
    other = make(**LAB, routers=[LITELLM, ARISTOTE])
    web_ui = container(other, "open-webui-0").env
    assert web_ui["OPENAI_API_BASE_URLS"] == "http://demo-litellm-0:4000/v1"
    assert web_ui["ENABLE_FORWARD_USER_INFO_HEADERS"] == "true"
    assert json.loads(hooks(other))["web_ui"]


def hooks(artefacts: Artefacts) -> str:
    unit = named(artefacts, "litellm-0")
    assert unit.config
    return str(unit.config.files["atelier.json"].content)


def servers(artefacts: Artefacts) -> dict[str, list[str]]:
    """Address of every server, by backend."""
    return {
        title.removeprefix("backend "): [line[1] for line in rules(section, "server")]
        for title, section in sections(entry(artefacts)).items()
        if title.startswith("backend ")
    }


def leads_to(artefacts: Artefacts, path: str, *, is_admin: bool = False) -> str:
    """The backend of a request, by the rules in their order, as HAProxy goes through them."""
    people = sections(entry(artefacts))["frontend people"]
    acls: dict[str, list[list[str]]] = {}
    for name, *condition in rules(people, "acl"):
        acls.setdefault(name, []).append(condition)

    def holds(name: str) -> bool:
        if name.startswith("!"):
            return not holds(name[1:])
        return any(_matches(path, condition) for condition in acls[name])

    for backend, _, *condition in rules(people, "use_backend"):
        text = " ".join(condition)
        if "{" in text:
            text = text.partition(" || {")[0]
        if any(all(map(holds, part.split())) for part in text.split(" || ")):
            return str(backend)
    return str(rules(people, "default_backend")[0][0])


def _matches(path: str, condition: list[str]) -> bool:
    fetch, *rest = condition
    if fetch != "path":
        return False
    if "-i" in rest:
        path = path.lower()
    wanted = [word for word in rest if word.startswith("/")]
    if "beg" in rest:
        return path.startswith(tuple(wanted))
    return path in wanted


def test_the_entry_sends_completions_to_litellm(lab: Artefacts) -> None:
    assert servers(lab) == {
        "router": ["demo-aristote-sender-0:8080"],
        "completions": ["demo-litellm-0:4000"],
        "web_ui": ["demo-open-webui-0:8080"],
    }
    found = {path: leads_to(lab, path) for path in API}
    assert found == dict.fromkeys(API, "router") | {"/v1/completions": "completions"}
    assert leads_to(lab, "/v1/completions/") == "completions"
    assert leads_to(lab, "/v1/Completions") == "completions"
    assert leads_to(lab, "/v1/chat/completions") == "router"
    # LiteLLM has an administration, and Aristote has none
    assert leads_to(lab, "/key/generate") == "completions"
    assert leads_to(lab, "/v1/model/info") == "completions"
    assert leads_to(lab, "/c/some-chat") == "web_ui"


def test_each_is_asked_whether_it_is_well_in_its_own_way(lab: Artefacts) -> None:
    found = sections(entry(lab))
    checks = {
        name: rules(found[f"backend {name}"], "option", "httpchk", "GET")
        for name in ("router", "completions")
    }
    assert checks == {"router": [["/health/readiness"]], "completions": [["/health/liveliness"]]}


def test_a_litellm_that_is_the_main_router_gets_everything(make: MakeArtefacts) -> None:
    found = make(**LAB, routers=[LITELLM, ARISTOTE | {"port": 4002}])
    assert servers(found)["router"] == ["demo-litellm-0:4000"]
    assert "completions" not in servers(found)
    assert {leads_to(found, path) for path in API} == {"router"}


def test_several_of_each_are_drained_at_the_entry(make: MakeArtefacts) -> None:
    two = [ARISTOTE | {"replicas": 2}, LITELLM | {"replicas": 2}]
    found = make(**LAB, routers=two)
    routes = {unit.name: unit.route for unit in found.stack.tier(Tier.ROUTER)}
    assert {name: route.names if route else () for name, route in routes.items()} == {
        "demo-aristote-sender-0": ("router/demo-aristote-sender-0",),
        "demo-aristote-sender-1": ("router/demo-aristote-sender-1",),
        # the entry that runs may have them in the other place still
        "demo-litellm-0": ("completions/demo-litellm-0", "router/demo-litellm-0"),
        "demo-litellm-1": ("completions/demo-litellm-1", "router/demo-litellm-1"),
    }
    assert json.loads(hooks(found))["recycling"]["routers"] == [
        "demo-litellm-0:4000",
        "demo-litellm-1:4000",
    ]


def test_an_entry_elsewhere_reaches_both_through_the_link(make: MakeArtefacts) -> None:
    settings = LAB | {
        "hosts": [*LAB["hosts"], {"name": "10.0.0.2"}],
        "entry": {"host": "10.0.0.2"},
        "web_ui": None,
        "routers": [ARISTOTE, LITELLM],
    }
    artefacts = make(**settings)
    found = sections(entry(artefacts))
    servers = [rules(found[f"backend {name}"], "server")[0] for name in ("router", "completions")]
    names = ["demo-aristote-sender-0", "demo-litellm-0"]
    assert [server[:2] for server in servers] == [[name, "10.0.0.1:8443"] for name in names]
    [_, server] = artefacts.stack.tier(Tier.LINK)
    link = sections(server)
    for name, port in zip(names, (8080, 4000), strict=True):
        assert rules(link[f"backend {name}"], "server")[0][:2] == ["asked", f"{name}:{port}"]


def test_engines_are_drained_where_litellm_asks_them(lab: Artefacts) -> None:
    """Aristote sees itself that one is gone, and nothing keeps its requests away."""
    routes = {unit.serves: unit.route for unit in lab.stack.tier(Tier.ENGINE)}
    assert {name for name, route in routes.items() if route} == {TYPE["name"], BOTH["name"]}


def test_both_reach_engines_on_another_host_through_the_link(make: MakeArtefacts) -> None:
    settings = LAB | {
        "hosts": [{"name": "10.0.0.1"}, {"name": "10.0.0.2", "gpus": "4x l40s"}],
        "routers": [ARISTOTE, LITELLM],
    }
    found = make(**settings)
    asked = {row["litellm_params"]["api_base"] for row in config(found)["model_list"]}
    assert all(base.startswith("http://demo-listener-client-0:8080/") for base in asked)
    consumer = container(found, f"aristote-consumer-{CHAT['name']}-0")
    [server] = json.loads(text(consumer.env["VLLM_SERVERS"]))
    assert server.startswith("http://demo-listener-client-0:8080/demo-vllm-")


def test_the_longest_time_out_is_the_entrys(make: MakeArtefacts) -> None:
    slow = LITELLM | {"request_timeout_seconds": 1200}
    found = sections(entry(make(**LAB, routers=[ARISTOTE, slow])))
    assert rules(found["defaults"], "timeout", "server") == [["1260s"]]


def test_a_router_beside_another_changes_nothing_of_it(make: MakeArtefacts) -> None:
    """LiteLLM that is added leaves the sender as it is: the same container, the same files."""
    alone = make(**LAB | {"models": [CHAT, BOTH], "router": ARISTOTE})
    beside = make(**LAB | {"models": [CHAT, BOTH], "routers": [ARISTOTE, LITELLM]})
    for name in ("aristote-sender-0", f"aristote-consumer-{CHAT['name']}-0", "rabbitmq-0"):
        assert named(alone, name) == named(beside, name)


@pytest.mark.golden
def test_the_entrys_configuration(lab: Artefacts) -> None:
    unit = entry(lab)
    assert unit.config
    assert_golden(GOLDEN / "both.haproxy.cfg", str(unit.config.files["haproxy.cfg"].content))
