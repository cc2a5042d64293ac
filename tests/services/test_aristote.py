"""Aristote's sender, its consumers and RabbitMQ: what each is told, who waits for whom."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deploy.artefacts import Artefacts
from deploy.errors import SecretError
from deploy.services import ContainerSpec, Tier, Unit
from deploy.spec import SecretText
from tests.conftest import MakeArtefacts
from tests.golden import assert_golden
from tests.services.profiles import GOLDEN, rendered

ARISTOTE: dict[str, Any] = {"router": {"kind": "aristote"}, "postgres": {}}
CODER = {"name": "qwen2.5-coder-7b"}


@pytest.fixture
def lab(make: MakeArtefacts) -> Artefacts:
    return make(**ARISTOTE)


def on_gpus(make: MakeArtefacts, **more: Any) -> Artefacts:
    settings: dict[str, Any] = {
        **ARISTOTE,
        "hosts": [
            {"name": "10.0.0.1"},
            {"name": "10.0.0.2", "gpus": "1x l40s"},
            {"name": "10.0.0.3", "gpus": "1x l40s"},
        ],
        "engine": {"kind": "vllm"},
        "models": [{**CODER, "replicas": 2, "gpus": 1}],
    }
    return make(**settings | more)


def named(artefacts: Artefacts, name: str) -> Unit:
    return next(unit for unit in artefacts.stack.units if unit.name == f"demo-{name}")


def sender(artefacts: Artefacts) -> ContainerSpec:
    return named(artefacts, "aristote-sender-0").container


def consumer(artefacts: Artefacts, model: str = "tiny-coder") -> ContainerSpec:
    return named(artefacts, f"aristote-consumer-{model}-0").container


def text(value: str | SecretText) -> str:
    return value if isinstance(value, str) else value.render(lambda name: f"<{name}>")


def servers(found: ContainerSpec) -> dict[str, dict[str, Any]]:
    read: dict[str, dict[str, Any]] = json.loads(text(found.env["VLLM_SERVERS"]))
    return read


def test_stores_come_first_then_engines_consumers_and_senders(make: MakeArtefacts) -> None:
    artefacts = make(
        router={"kind": "aristote", "replicas": 2},
        postgres={},
        entry={},
        models=[{"name": "tiny-coder", "replicas": 2}],
    )
    assert [unit.name.removeprefix("demo-") for unit in artefacts.stack.units] == [
        "postgres-0",
        "rabbitmq-0",
        "llama-cpp-tiny-coder-0",
        "llama-cpp-tiny-coder-1",
        "aristote-consumer-tiny-coder-0",
        "aristote-sender-0",
        "aristote-sender-1",
        "open-webui-0",
        "listener-0",
        "haproxy-0",
    ]
    assert Tier.ENGINE.position < Tier.CONSUMER.position < Tier.ROUTER.position


def test_there_is_no_litellm(lab: Artefacts) -> None:
    assert "litellm" not in {unit.image_name for unit in lab.stack.units}
    assert lab.context.images["aristote-sender"].reference.endswith("sender:v1.4.3")
    assert "router_salt_key" not in lab.secrets.names


def test_only_the_sender_has_a_port(lab: Artefacts) -> None:
    published = {unit.name for unit in lab.stack.units if unit.container.ports}
    assert published == {"demo-aristote-sender-0", "demo-open-webui-0"}
    [port] = sender(lab).ports
    assert (port.host_ip, port.host_port, port.container_port) == ("127.0.0.1", 4000, 8080)


def test_what_the_sender_is_told(lab: Artefacts) -> None:
    env = {name: text(value) for name, value in sender(lab).env.items()}
    account = json.loads(env.pop("ATELIER_ACCOUNT"))
    assert account == {
        "default_routing_mode": "any",
        "name": "atelier",
        "organization": "atelier",
        "priority": 3,
        "threshold": 1000,
    }
    assert json.loads(env.pop("MODEL_HOST_MAPPING")) == {"tiny-coder": ["atelier"]}
    assert env == {
        "ATELIER_MASTER_KEY": "<router_master_key>",
        "DATABASE_URL": "postgresql+psycopg2://aristote:<router_database_password>"
        "@demo-postgres-0:5432/aristote",
        # at 20, upstream's own, tokens of users are in the log
        "LOG_LEVEL": "30",
        "MESSAGE_TIMEOUT": "120",
        # a database that is away holds up every request, and the look at readiness
        "PGCONNECT_TIMEOUT": "10",
        "PROXY_CLIENT_REQUEST_TIMEOUT": "600",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "RABBITMQ_HOST": "demo-rabbitmq-0",
        "RABBITMQ_MANAGEMENT_PORT": "15672",
        "RABBITMQ_PASSWORD": "<rabbitmq_password>",
        "RABBITMQ_PORT": "5672",
        "RABBITMQ_USER": "aristote",
    }


def test_how_the_sender_is_started(lab: Artefacts) -> None:
    found = sender(lab)
    program, settings = found.command
    assert (found.entrypoint, program) == ("python3", "/etc/atelier/sender.py")
    assert json.loads(settings) == {
        "before": [["alembic", "upgrade", "head"], ["python3", "/etc/atelier/account.py"]],
        "command": ["python3", "/etc/atelier/serve.py", "8080"],
        "directory": "/app",
        "seconds": 60,
        "url": "http://127.0.0.1:8080/health/readiness",
    }
    assert "127.0.0.1:8080/health/readiness" in found.healthcheck.command
    config = named(lab, "aristote-sender-0").config
    assert config
    assert sorted(config.files) == ["account.py", "sender.py", "serve.py"]


def test_what_the_consumer_is_told(lab: Artefacts) -> None:
    found = consumer(lab)
    assert (found.entrypoint, found.command) == ("python3", ("-m", "src.consumer.main"))
    env = {name: text(value) for name, value in found.env.items()}
    assert env["MODEL"] == "tiny-coder"
    assert env["LOG_LEVEL"] == "30"
    # without it the consumer stops at once
    assert env["ROUTING_STRATEGY"] == "round-robin"
    assert (env["PRIORITY_HANDLER"], env["QUALITY_OF_SERVICE_POLICY"]) == ("ignore", "warning-log")
    assert env["VLLM_TREATMENT_TIMEOUT_SECONDS"] == "600"
    assert int(env["RPC_QUEUE_EXPIRATION"]) >= 600_000
    assert env["PING_REFRESH_RATE"] == "10"
    assert servers(found) == {
        "http://demo-llama-cpp-tiny-coder-0:8080": {
            "organization": "atelier",
            "token": "<engine_api_key>",
        }
    }
    assert found.healthcheck.command == "python3 /etc/atelier/consumer_health.py"


@pytest.mark.parametrize("kind", ["llama_cpp", "ollama"])
def test_addresses_end_without_a_slash_and_without_v1(make: MakeArtefacts, kind: str) -> None:
    found = servers(consumer(make(**ARISTOTE, engine={"kind": kind})))
    [url] = found
    assert url.count("/") == 2
    # Ollama has no key, and is sent none
    assert [sorted(server) for server in found.values()] == [
        ["organization"] if kind == "ollama" else ["organization", "token"]
    ]


def test_every_replica_is_behind_its_model_through_links_too(make: MakeArtefacts) -> None:
    found = consumer(on_gpus(make), "qwen2.5-coder-7b")
    link = "http://demo-listener-client-0:8080"
    assert list(servers(found)) == [
        f"{link}/demo-vllm-qwen2.5-coder-7b-0",
        f"{link}/demo-vllm-qwen2.5-coder-7b-1",
    ]


def test_limits_are_those_of_one_replica(make: MakeArtefacts) -> None:
    router = {"kind": "aristote", "aristote": {"max_parallel_requests": 4}}
    found = consumer(make(router=router, postgres={}))
    # upstream's default limits nothing
    assert found.env["QUALITY_OF_SERVICE_POLICY"] == "parallel-requests-threshold-requeue"
    assert [each["max_parallel_requests"] for each in servers(found).values()] == [4]


def test_settings_of_queues_do_not_follow_what_is_declared(make: MakeArtefacts) -> None:
    """A queue that lives refuses other settings: the consumer would stop."""
    more = {"request_timeout_seconds": 60, "aristote": {"queue_timeout_seconds": 5}}
    other = make(router={"kind": "aristote", **more}, postgres={})
    assert sender(other).env["MESSAGE_TIMEOUT"] == "5"
    for name in ("RPC_QUEUE_EXPIRATION", "RPC_MESSAGE_EXPIRATION"):
        assert consumer(other).env[name] == consumer(make(**ARISTOTE)).env[name]


@pytest.mark.parametrize(
    ("engine", "handler"),
    [
        ({"kind": "vllm", "scheduling_policy": "priority"}, "vllm"),
        ({"kind": "vllm"}, "ignore"),
        ({"kind": "sglang", "scheduling_policy": "priority"}, "ignore"),
    ],
)
def test_priorities_are_written_for_engines_that_take_them(
    make: MakeArtefacts, engine: dict[str, Any], handler: str
) -> None:
    found = consumer(on_gpus(make, engine=engine), "qwen2.5-coder-7b")
    assert found.env["PRIORITY_HANDLER"] == handler


@pytest.mark.parametrize(("replicas", "strategy"), [(2, "least-busy"), (1, "round-robin")])
def test_one_replica_is_not_measured(make: MakeArtefacts, replicas: int, strategy: str) -> None:
    router = {"kind": "aristote", "aristote": {"routing_strategy": "least-busy"}}
    models = [{**CODER, "replicas": replicas, "gpus": 1}]
    found = consumer(on_gpus(make, router=router, models=models), "qwen2.5-coder-7b")
    assert found.env["ROUTING_STRATEGY"] == strategy


def test_organisations_are_those_of_hosts(make: MakeArtefacts) -> None:
    router = {
        "kind": "aristote",
        "aristote": {
            "organization": "lab",
            "organizations": {"10.0.0.3": "physics"},
            "routing_mode": "private-first",
            "priority": 5,
            "threshold": 2,
        },
    }
    artefacts = on_gpus(make, router=router)
    owners = [each["organization"] for each in servers(consumer(artefacts, CODER["name"])).values()]
    assert owners == ["lab", "physics"]
    env = sender(artefacts).env
    assert json.loads(text(env["MODEL_HOST_MAPPING"])) == {CODER["name"]: ["lab", "physics"]}
    assert json.loads(text(env["ATELIER_ACCOUNT"])) == {
        "name": "atelier",
        "organization": "lab",
        "priority": 5,
        "threshold": 2,
        "default_routing_mode": "private-first",
    }


def test_rabbitmq_is_told_by_files_and_its_environment(lab: Artefacts) -> None:
    unit = named(lab, "rabbitmq-0")
    assert unit.config
    files = {name: str(file.content) for name, file in unit.config.files.items()}
    assert files["enabled_plugins"] == "[rabbitmq_management].\n"
    assert "vm_memory_high_watermark.absolute = 256MiB\n" in files["rabbitmq.conf"]
    # the sender asks the management plugin: its user must be let in there
    assert "default_user_tags.administrator = true\n" in files["rabbitmq.conf"]
    env = {name: text(value) for name, value in unit.container.env.items()}
    # guest is refused from other hosts
    assert env["RABBITMQ_DEFAULT_USER"] == text(sender(lab).env["RABBITMQ_USER"]) == "aristote"
    assert env["RABBITMQ_DEFAULT_PASS"] == "<rabbitmq_password>"
    assert env["RABBITMQ_NODENAME"] == "rabbit@localhost"
    assert unit.volumes == ("demo-rabbitmq",)
    assert not unit.is_stateful


def test_no_secret_is_an_argument_or_in_a_file(make: MakeArtefacts) -> None:
    artefacts = make(**ARISTOTE)
    names = artefacts.stack.secrets
    assert {"rabbitmq_password", "router_master_key", "engine_api_key"} <= names
    for unit in artefacts.stack.units:
        shown = " ".join(unit.create_arguments("demo", artefacts.secrets.digest))
        files = unit.config.files.values() if unit.config else ()
        shown += " ".join(str(file.content) for file in files)
        for name in names:
            assert artefacts.secrets.value(name) not in shown


def test_postgresql_has_a_database_for_it(make: MakeArtefacts, lab: Artefacts) -> None:
    assert named(lab, "postgres-0").container.env["ATELIER_DATABASES"] == "aristote open_webui"
    # one that was LiteLLM's is left as it is
    other = make(postgres={})
    assert named(other, "postgres-0").container.env["ATELIER_DATABASES"] == "litellm open_webui"


def test_postgresql_logs_no_statement_that_has_tokens(make: MakeArtefacts, lab: Artefacts) -> None:
    settings = {"log_min_error_statement=panic", "log_error_verbosity=terse"}
    assert settings <= set(named(lab, "postgres-0").container.command)
    # LiteLLM's have none: its PostgreSQL is as it was
    assert not settings & set(named(make(postgres={}), "postgres-0").container.command)


def test_a_database_of_the_operators(make: MakeArtefacts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUTER_DB", "postgres://a:leaked@db.lab/aristote")
    found = make(
        router={"kind": "aristote"},
        postgres={"router_database_url": {"env": "ROUTER_DB"}, "web_ui": False},
    )
    value = sender(found).env["DATABASE_URL"]
    assert isinstance(value, SecretText)
    # SQLAlchemy takes psycopg2 for that, which is in the image
    assert found.secrets.render(value) == "postgresql://a:leaked@db.lab/aristote"


def test_the_web_ui_and_the_entry_ask_the_sender(make: MakeArtefacts) -> None:
    artefacts = make(**ARISTOTE, entry={})
    web_ui = named(artefacts, "open-webui-0").container
    assert web_ui.env["OPENAI_API_BASE_URLS"] == "http://demo-aristote-sender-0:8080/v1"
    assert text(web_ui.env["OPENAI_API_KEYS"]) == "<router_master_key>"
    config = named(artefacts, "haproxy-0").config
    assert config
    lines = str(config.files["haproxy.cfg"].content).splitlines()
    assert any("demo-aristote-sender-0:8080" in line for line in lines)
    assert "  option httpchk GET /health/readiness" in lines
    assert not any("liveliness" in line for line in lines)


def test_nothing_keeps_requests_away_from_an_engine(lab: Artefacts) -> None:
    """LiteLLM reads a directory for that; Aristote reads none."""
    [engine] = lab.stack.tier(Tier.ENGINE)
    assert engine.route is None


def test_links_are_replaced_without_being_drained(make: MakeArtefacts) -> None:
    links = on_gpus(make).stack.tier(Tier.LINK)
    # and what listens for each
    assert len(links) == 6
    assert {unit.route for unit in links} == {None}


def test_senders_are_drained_by_the_entry(make: MakeArtefacts) -> None:
    artefacts = make(router={"kind": "aristote", "replicas": 2}, postgres={}, entry={})
    for unit in artefacts.stack.tier(Tier.ROUTER):
        assert unit.route
        assert unit.route.names == (f"router/{unit.name}",)


@pytest.mark.parametrize("key", ['engine"key1', "engine\\key1", "engine key1"])
def test_a_key_that_would_have_to_be_escaped_is_refused(
    make: MakeArtefacts, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("ENGINE_KEY", key)
    secrets = {"engine_api_key": {"env": "ENGINE_KEY"}}
    with pytest.raises(SecretError) as refused:
        make(**ARISTOTE, secrets=secrets)
    assert "secrets.engine_api_key" in str(refused.value)
    assert key not in str(refused.value)
    make(secrets=secrets)


@pytest.mark.golden
def test_containers_as_they_were_last_looked_at(make: MakeArtefacts, tmp_path: Path) -> None:
    router = {"kind": "aristote", "aristote": {"max_parallel_requests": 8}}
    artefacts = make(router=router, postgres={}, entry={})
    made = json.dumps(rendered(artefacts), indent=1) + "\n"
    assert_golden(GOLDEN / "aristote.json", made.replace(str(tmp_path), "DIRECTORY"))
