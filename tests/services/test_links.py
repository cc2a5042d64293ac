"""Both ends of links: their containers, their configuration parsed back, who is asked there."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.artefacts import Artefacts
from deploy.certificates import provide_link_certificates
from deploy.errors import SecretError
from deploy.services import Tier, Unit
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
    return {unit.name: unit for unit in artefacts.stack.tier(Tier.LINK)}


def test_a_server_on_each_other_host_and_one_client(lab: Artefacts) -> None:
    found = {name: (unit.host, unit.runs.listens) for name, unit in ends(lab).items()}
    assert found == {
        "demo-link-server-h2-0": ("h2", (("10.0.0.2", 8443),)),
        "demo-link-server-h3-0": ("h3", (("10.0.0.3", 8443),)),
        CLIENT: ("h1", ()),
    }


def test_they_start_after_engines_and_before_routers() -> None:
    assert Tier.ENGINE.position < Tier.LINK.position < Tier.ROUTER.position


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
    assert condition == [engine, *f"if {{ path,field(2,/) -m str {engine} }}".split()]
    assert rules(server[f"backend {engine}"], "server") == [
        ["engine", f"{engine}:8080", *["resolvers", "docker", "init-addr", "last,libc,none"]]
    ]
    assert rules(server[f"backend {engine}"], "http-request", "replace-path") == [
        ["/[^/]+(/.*)", "\\1"]
    ]


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


def test_replicas_are_asked_by_their_names(lab: Artefacts) -> None:
    [router] = lab.stack.tier(Tier.ROUTER)
    assert router.config
    config = yaml.safe_load(str(router.config.files["config.yaml"].content))
    engine = "demo-llama-cpp-tiny-coder"
    assert [row["litellm_params"]["api_base"] for row in config["model_list"]] == [
        f"http://{engine}-0:8080/v1",
        f"http://{CLIENT}:8080/{engine}-1/v1",
        f"http://{CLIENT}:8080/{engine}-2/v1",
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
    found = ends(make(hosts=HOSTS, models=[TINY, adapters], router={"host": "h3"}))
    for unit in found.values():
        assert unit.route
        assert unit.route.host == "h3"
        assert unit.drain_seconds == 120
    route = found["demo-link-server-h1-0"].route
    assert route
    coder = next(r for r in route.names if "vllm" in r and not r.endswith("sql"))
    assert set(route.names) >= {"demo-llama-cpp-tiny-coder-0", coder, f"{coder}-sql"}
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
    servers = {unit.host for unit in ends(made).values() if unit.runs.listens}
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
