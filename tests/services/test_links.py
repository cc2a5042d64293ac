"""Both ends of links: their containers, their configuration parsed back, who is asked there."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from cryptography import x509
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.artefacts import Artefacts
from deploy.certificates import provide_link_certificates
from deploy.changes.order import Pending, form_groups, lanes
from deploy.errors import SecretError
from deploy.services import Tier, Unit, links
from deploy.spec import SecretText
from tests.conftest import MakeArtefacts
from tests.golden import assert_golden
from tests.services.test_golden import GOLDEN
from tests.services.test_haproxy import rules, sections

HOSTS = [{"name": f"h{n}", "address": f"10.0.0.{n}"} for n in (1, 2, 3)]
TINY = {"name": "tiny-coder", "replicas": 4}
CODER = {"name": "qwen2.5-coder-0.5b", "engine": {"kind": "vllm", "cpu_kvcache_space": 1}}
OLLAMA = {"name": "qwen2.5-coder-7b", "engine": {"kind": "ollama"}}
CLIENT = "demo-link-client-0"


@pytest.fixture
def lab(make: MakeArtefacts) -> Artefacts:
    return make(hosts=HOSTS, models=[TINY])


def ends(artefacts: Artefacts) -> dict[str, Unit]:
    return {unit.name: unit for unit in artefacts.stack.tier(Tier.LINK) if unit.config}


def listeners(artefacts: Artefacts) -> dict[str, Unit]:
    return {unit.name: unit for unit in artefacts.stack.tier(Tier.LINK) if not unit.config}


def test_a_server_on_each_other_host_and_one_client(lab: Artefacts) -> None:
    found = {name: (unit.host, unit.runs.listens) for name, unit in ends(lab).items()}
    assert found == {
        "demo-link-server-h2-0": ("h2", ()),
        "demo-link-server-h3-0": ("h3", ()),
        CLIENT: ("h1", ()),
    }
    found = {name: (unit.host, unit.runs.listens) for name, unit in listeners(lab).items()}
    assert found == {
        "demo-listener-server-h2-0": ("h2", (("10.0.0.2", 8443),)),
        "demo-listener-server-h3-0": ("h3", (("10.0.0.3", 8443),)),
        "demo-listener-client-0": ("h1", ()),
    }


def test_they_start_after_engines_and_before_routers() -> None:
    assert Tier.ENGINE.position < Tier.LINK.position < Tier.ROUTER.position


@pytest.mark.parametrize("action", ["create", "recreate"])
def test_what_listens_for_an_end_starts_before_it(lab: Artefacts, action: str) -> None:
    for host in ("h1", "h2", "h3"):
        units = [unit for unit in lab.stack.on(host) if unit.tier == Tier.LINK]
        pending = [
            Pending(each.name, each.tier, action, each.serves, each.needs, new=each.holds)
            for each in units
        ]
        [lane] = lanes(form_groups(pending, ()))
        [listener, haproxy] = [member.name for group in lane for member in group.members]
        assert listener in listeners(lab)
        assert haproxy in ends(lab)


@pytest.mark.parametrize(
    ("end", "listener", "port"),
    [
        ("demo-link-server-h2-0", "demo-listener-server-h2-0", 8443),
        (CLIENT, "demo-listener-client-0", 8080),
    ],
)
def test_an_end_gives_way_and_has_its_sockets_from_its_listener(
    lab: Artefacts, end: str, listener: str, port: int
) -> None:
    haproxy, own = ends(lab)[end], listeners(lab)[listener]
    assert haproxy.gives_way
    [(target, mount)] = own.container.mounts.items()
    assert haproxy.container.mounts[target] == mount.model_copy(update={"read_only": True})
    *_, socket, inside = own.container.command
    assert haproxy.container.command[-1] == socket
    found = sections(haproxy)
    assert rules(found["frontend requests"], "bind")[0][0] == f":{inside}" == f":{port}"
    assert rules(found["global"], "tune.listener.default-shards") == [["by-process"]]
    # each has its own volume
    sources = [
        mount.source for each in listeners(lab).values() for mount in each.container.mounts.values()
    ]
    assert len(set(sources)) == 3


def test_only_another_port_or_address_changes_what_listens(
    make: MakeArtefacts, lab: Artefacts
) -> None:
    def public(made: Artefacts) -> dict[str, object]:
        return {name: unit.container.public(str) for name, unit in listeners(made).items()}

    images = {"haproxy": {"source": "pull", "reference": "lab/haproxy:9"}}
    larger = make(hosts=HOSTS, models=[TINY], links={"memory_limit": "1GiB"}, images=images)
    assert public(larger) == public(lab)
    assert all(ends(larger)[name].runs != unit.runs for name, unit in ends(lab).items())
    other = public(make(hosts=HOSTS, models=[TINY], links={"port": 9443}))
    changed = {name for name, text in public(lab).items() if other[name] != text}
    assert changed == {"demo-listener-server-h2-0", "demo-listener-server-h3-0"}


def test_there_is_none_on_one_host(demo: Artefacts) -> None:
    assert ends(demo) == {}
    assert demo.secrets.links is None


def test_a_server_shows_its_certificate_and_wants_one(lab: Artefacts) -> None:
    server = sections(ends(lab)["demo-link-server-h2-0"])
    [bind] = rules(server["frontend requests"], "bind")
    assert bind == [
        *(":8443", "ssl", "crt", "link.pem"),
        *("ca-file", "authority.pem", "verify", "required"),
        *("alpn", "http/1.1"),
    ]
    world = server["global"]
    assert rules(world, "ssl-default-bind-options") == [
        ["ssl-min-ver", "TLSv1.3", "no-tls-tickets"]
    ]
    # a session that is resumed shows no certificate
    assert rules(world, "tune.ssl.cachesize") == [["0"]]


def test_a_server_hands_requests_to_its_engines_alone(lab: Artefacts) -> None:
    server = sections(ends(lab)["demo-link-server-h2-0"])
    [condition] = rules(server["frontend requests"], "use_backend")
    engine = "demo-llama-cpp-tiny-coder-1"
    assert condition == [engine, *f"if {{ var(txn.asked) -m str {engine} }}".split()]
    assert rules(server[f"backend {engine}"], "server") == [
        ["asked", f"{engine}:8080", *["resolvers", "docker", "init-addr", "last,libc,none"]]
    ]
    [[path, rest, *unless]] = rules(server[f"backend {engine}"], "http-request", "replace-path")
    assert (path, rest) == ("/[^/]+(/.*)", "\\1")
    assert unless == ["unless", "{", "req.hdr(x-atelier-link)", "-m", "found", "}"]
    # an engine's errors are the routers' to deal with
    assert rules(server[f"backend {engine}"], "errorfile") == []


def test_the_client_asks_each_host_for_its_own_certificate(lab: Artefacts) -> None:
    client = sections(ends(lab)[CLIENT])
    assert rules(client["frontend requests"], "bind") == [[":8080"]]
    for host in ("h2", "h3"):
        [server] = rules(client[f"backend host-{host}"], "server")
        assert server[:3] == ["link", f"10.0.0.{host[1]}:8443", "ssl"]
        options = dict(zip(server[3::2], server[4::2], strict=False))
        assert options["crt"] == "link.pem"
        assert options["ca-file"] == "authority.pem"
        assert options["verify"] == "required"
        assert options["verifyhost"] == f"{host}.link"
        assert options["sni"] == f"str({host}.link)"
        assert server[-1] == "no-ssl-reuse"


def test_a_host_that_is_gone_is_waited_for_once(lab: Artefacts) -> None:
    """For as long as it may take to connect; another replica may answer."""
    found = {name: sections(unit)["defaults"] for name, unit in ends(lab).items()}
    assert rules(found[CLIENT], "timeout", "connect") == [["5s"]]
    assert rules(found[CLIENT], "retries") == [["0"]]
    assert rules(found["demo-link-server-h2-0"], "retries") == [["3"]]


def test_replicas_are_asked_by_their_names(lab: Artefacts) -> None:
    [router] = lab.stack.tier(Tier.ROUTER)
    assert router.config
    config = yaml.safe_load(str(router.config.files["config.yaml"].content))
    engine = "demo-llama-cpp-tiny-coder"
    assert [row["litellm_params"]["api_base"] for row in config["model_list"]] == [
        f"http://{engine}-0:8080/v1",
        f"http://demo-listener-client-0:8080/{engine}-1/v1",
        f"http://demo-listener-client-0:8080/{engine}-2/v1",
        f"http://{engine}-3:8080/v1",
    ]


def test_errors_have_the_shape_of_the_api(lab: Artefacts) -> None:
    for unit in ends(lab).values():
        found = sections(unit)
        [unknown] = rules(found["frontend requests"], "http-request", "return")
        assert unknown[1] == "503"
        for line in rules(found["defaults"], "http-error"):
            assert json.loads(line[-1])["error"]["code"] == "service_unavailable"


def test_only_the_key_is_for_its_owner_alone_and_no_secret_is_in_the_label(lab: Artefacts) -> None:
    for unit in ends(lab).values():
        assert unit.config
        modes = {name: file.mode for name, file in unit.config.files.items()}
        assert modes == {
            "haproxy.cfg": 0o644,
            "link.pem": 0o644,
            "link.pem.key": 0o600,
            "authority.pem": 0o644,
        }
        key = unit.config.files["link.pem.key"].content
        assert isinstance(key, SecretText)
        text = lab.secrets.render(key)
        assert text.startswith("-----BEGIN PRIVATE KEY-----")
        assert text not in json.dumps(unit.create_arguments("demo", lab.secrets.digest))
        assert "PRIVATE" not in lab.secrets.redact(f"{text}{text.splitlines()[1]}")


def test_each_host_has_its_own_key(lab: Artefacts) -> None:
    keys = [
        lab.secrets.render(content)
        for unit in ends(lab).values()
        if unit.config
        and isinstance(content := unit.config.files["link.pem.key"].content, SecretText)
    ]
    assert len(set(keys)) == 3


def test_another_replica_or_certificate_leaves_the_containers_as_they_are(
    make: MakeArtefacts, lab: Artefacts
) -> None:
    more = make(hosts=HOSTS, models=[TINY | {"replicas": 6}])
    for name, unit in ends(lab).items():
        other = ends(more)[name]
        assert unit.config
        assert other.config
        assert unit.config.files != other.config.files
        assert unit.config.directory == other.config.directory
        assert unit.runs == other.runs


def test_routers_keep_requests_from_all_replicas_behind_one_that_is_replaced(
    make: MakeArtefacts,
) -> None:
    adapters = CODER | {"lora_adapters": {"sql": "/srv/sql"}, "replicas": 3}
    made = make(hosts=HOSTS, models=[TINY, adapters], router={"host": "h3"})
    found = ends(made)
    for unit in (*found.values(), *listeners(made).values()):
        assert unit.route
        assert unit.route.host == "h3"
        assert unit.drain_seconds == 120
    route = found["demo-link-server-h1-0"].route
    assert route
    coder = next(r for r in route.names if "vllm" in r and not r.endswith("sql"))
    assert set(route.names) >= {"demo-llama-cpp-tiny-coder-0", coder, f"{coder}-sql"}
    assert listeners(made)["demo-listener-server-h1-0"].route == route
    client = found[CLIENT].route
    assert client
    assert set(client.names) > set(route.names)


def test_what_was_made_is_kept_and_read_again(make: MakeArtefacts) -> None:
    first = make(hosts=HOSTS, models=[TINY])
    assert first.secrets.issued[0] == "a certificate authority for links"
    with pytest.raises(SecretError, match="certificate authority for links"):
        first.secrets.require_kept()
    first.secrets.save()
    first.secrets.require_kept()
    kept = yaml.safe_load(first.secrets.path.read_text())["links"]
    assert set(kept["pairs"]) == {"h1 client", "h2 server", "h3 server"}
    assert first.secrets.links
    assert kept["authority"]["key"] == first.secrets.links.authority.key


def test_what_cannot_be_read_is_refused_without_quoting_it(lab: Artefacts) -> None:
    lab.secrets.save()
    path = lab.secrets.path
    kept = yaml.safe_load(path.read_text())
    kept["links"]["authority"]["certificate"] = "half of a certificate"
    path.write_text(yaml.safe_dump(kept))
    again = type(lab.secrets)(path, {})
    assert lab.plan.links
    with pytest.raises(SecretError, match="links: what is kept of their authority") as refused:
        provide_link_certificates("demo", lab.plan.links, again, datetime.now(UTC))
    assert "half" not in str(refused.value)


# entries and web UIs on other hosts than what they ask


SPREAD: dict[str, Any] = {
    "hosts": HOSTS,
    "models": [TINY | {"replicas": 2}],
    "router": {"host": "h2", "replicas": 2},
    "web_ui": {"host": "h3"},
    "entry": {"host": "h1"},
}
"""Engines on h1 and h2."""


@pytest.fixture
def spread(make: MakeArtefacts) -> Artefacts:
    return make(**SPREAD)


def may_ask(server: Unit) -> dict[str, list[str]]:
    """The names in the certificates of those who may ask, by what is asked."""
    found = {}
    for name, section in sections(server).items():
        if name.startswith("backend "):
            [refusal] = rules(section, "http-request", "return", "status", "403")
            start = refusal.index("str") + 1
            found[name.removeprefix("backend ")] = refusal[start:-1]
    return found


def test_each_host_asks_and_is_asked_with_one_certificate(spread: Artefacts) -> None:
    assert {name: unit.host for name, unit in ends(spread).items()} == {
        "demo-link-server-h1-0": "h1",
        "demo-link-server-h2-0": "h2",
        "demo-link-server-h3-0": "h3",
        # the routers' for engines, and the web UI's for the router; the entry has none
        CLIENT: "h2",
        "demo-link-client-h3-0": "h3",
    }
    assert spread.plan.links
    assert spread.secrets.links
    assert set(spread.secrets.links.pairs) == {
        *("h1 server", "h2 server", "h3 server"),
        *("h1 client", "h2 client", "h3 client"),
    }
    holders = {end.key: links.holders(spread.context, end) for end in spread.plan.links.certified}
    assert holders["h1 client"] == ("demo-haproxy-0",)
    assert holders["h2 client"] == (CLIENT,)
    assert holders["h3 server"] == ("demo-link-server-h3-0",)


def test_a_certificate_leads_to_what_its_host_asks_alone(spread: Artefacts) -> None:
    found = ends(spread)
    assert may_ask(found["demo-link-server-h1-0"]) == {"demo-llama-cpp-tiny-coder-0": ["h2.link"]}
    assert may_ask(found["demo-link-server-h2-0"]) == {
        "demo-litellm-0": ["h1.link", "h3.link"],
        "demo-litellm-1": ["h1.link", "h3.link"],
    }
    assert may_ask(found["demo-link-server-h3-0"]) == {"demo-open-webui-0": ["h1.link"]}


def test_the_names_in_certificates_are_those_that_are_looked_at(make: MakeArtefacts) -> None:
    """Common names end after 64 characters."""
    long = f"{'a' * 30}.{'b' * 40}.example"
    hosts = [{"name": "h1", "address": "10.0.0.1"}, {"name": long, "address": "10.0.0.2"}]
    made = make(hosts=hosts, router={"host": "h1"}, web_ui={"host": long}, entry=None)
    [name] = may_ask(ends(made)["demo-link-server-h1-0"])["demo-litellm-0"]
    assert made.secrets.links
    pem = made.secrets.links.pairs[f"{long} client"].certificate
    certificate = x509.load_pem_x509_certificate(pem.encode())
    [common] = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    assert common.value == name


def test_an_entry_names_what_it_asks_in_a_header(spread: Artefacts) -> None:
    found = ends(spread)
    server = sections(found["demo-link-server-h2-0"])
    asked = rules(server["frontend requests"], "http-request", "set-var(txn.asked)")
    assert asked == [
        ["req.hdr(x-atelier-link)"],
        ["path,field(2,/)", *["unless", "{", "req.hdr(x-atelier-link)", "-m", "found", "}"]],
    ]
    # without an answer, the request is sent to one that is still there
    [gone] = rules(server["frontend requests"], "http-request", "reject")
    known = "demo-litellm-0 demo-litellm-1"
    assert " ".join(gone) == (
        f"if {{ req.hdr(x-atelier-link) -m found }} !{{ var(txn.asked) -m str {known} }}"
    )
    backend = server["backend demo-litellm-1"]
    assert ["http-request", "del-header", "x-atelier-link"] in backend
    # what cannot be handed on gets no answer, and is sent to the other router
    assert rules(backend, "errorfile") == [["502", "/dev/null"], ["503", "/dev/null"]]
    assert rules(backend, "retries") == [["0"]]
    assert rules(backend, "timeout", "connect") == [["1s"]]
    # who asks a client says it in the path alone
    client = sections(found[CLIENT])["frontend requests"]
    assert ["http-request", "del-header", "x-atelier-link"] in client


def test_a_web_ui_asks_the_router_through_its_client(spread: Artefacts) -> None:
    [web_ui] = spread.stack.tier(Tier.WEB_UI)
    url = "http://demo-listener-client-h3-0:8080/demo-litellm-0/v1"
    assert web_ui.container.env["OPENAI_API_BASE_URLS"] == url
    client = sections(ends(spread)["demo-link-client-h3-0"])
    assert [name for name in client if name.startswith("backend ")] == ["backend host-h2"]


def test_websockets_and_streams_last(spread: Artefacts) -> None:
    for unit in ends(spread).values():
        defaults = sections(unit)["defaults"]
        assert rules(defaults, "timeout", "tunnel") == [["1h"]]
        assert ["option", "http-no-delay"] in defaults


def test_a_link_to_services_alone_has_no_engine_to_drain(make: MakeArtefacts) -> None:
    made = make(hosts=HOSTS[:2], router={"host": "h1"}, entry={"host": "h2"})
    [server] = ends(made).values()
    assert (server.name, server.route, server.drain_seconds) == ("demo-link-server-h1-0", None, 0)


@given(
    router=st.integers(0, 2),
    web_ui=st.integers(0, 2),
    entry=st.integers(0, 2),
    count=st.integers(1, 3),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_is_asked_past_a_link_on_another_host(
    make: MakeArtefacts, router: int, web_ui: int, entry: int, count: int
) -> None:
    """Whatever runs where: hosts have open only the entry and the link."""
    hosts = [HOSTS[index % count]["name"] for index in (router, web_ui, entry)]
    made = make(
        hosts=HOSTS[:count],
        models=[TINY | {"replicas": count}],
        router={"host": hosts[0], "replicas": 2},
        web_ui={"host": hosts[1]},
        entry={"host": hosts[2]},
    )
    listens = {
        (unit.host, port)
        for unit in made.stack.units
        for address, port in unit.runs.listens
        if address != "127.0.0.1"
    }
    linked = set(made.plan.links.ends) if made.plan.links else set()
    assert listens == {(hosts[2], 80), (hosts[2], 443), *((host, 8443) for host in linked)}
    # an address of another host stands in configurations with the link's port alone
    for unit in made.stack.units:
        texts = [str(file.content) for file in unit.config.files.values()] if unit.config else []
        texts += [str(value) for value in getattr(unit.runs, "env", {}).values()]
        for asked in re.findall(r"10\.0\.0\.\d:(\d+)", " ".join(texts)):
            assert asked == "8443"


@given(
    models=st.lists(st.sampled_from([TINY, CODER, OLLAMA]), min_size=1, max_size=3, unique_by=str),
    replicas=st.integers(1, 5),
    count=st.integers(1, 3),
    router=st.integers(0, 2),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_engine_in_a_container_has_a_port_on_its_host(
    make: MakeArtefacts,
    models: list[dict[str, Any]],
    replicas: int,
    count: int,
    router: int,
) -> None:
    host = HOSTS[router % count]["name"]
    declared = [model | {"replicas": replicas} for model in models]
    made = make(hosts=HOSTS[:count], models=declared, router={"host": host}, web_ui=None)
    engines = made.stack.tier(Tier.ENGINE)
    assert len(engines) == replicas * len(models)
    assert [port for unit in engines for port in unit.runs.listens] == []
    servers = {unit.host for unit in listeners(made).values() if unit.runs.listens}
    assert servers == {unit.host for unit in engines} - {host}
    # every engine on another host is behind the link of that host, and behind no other
    for unit in engines:
        behind = [each.host for each in ends(made).values() if unit.name in str(each.config)]
        assert behind == ([] if unit.host == host else [unit.host, host])


@pytest.mark.golden
def test_configurations_are_as_written(lab: Artefacts) -> None:
    for name, golden in (("demo-link-server-h2-0", "server"), (CLIENT, "client")):
        config = ends(lab)[name].config
        assert config
        assert_golden(GOLDEN / f"link-{golden}.cfg", str(config.files["haproxy.cfg"].content))


@pytest.mark.golden
def test_configurations_between_services_are_as_written(spread: Artefacts) -> None:
    [entry] = spread.stack.tier(Tier.ENTRY)
    units = {"services": ends(spread)["demo-link-server-h2-0"], "entry": entry}
    for golden, unit in units.items():
        assert unit.config
        text = str(unit.config.files["haproxy.cfg"].content)
        assert_golden(GOLDEN / f"link-{golden}.cfg", text)
