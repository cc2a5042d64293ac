"""What holds for every container, whatever service it runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import PurePosixPath

import pytest
import yaml

from deploy import Secret
from deploy.artefacts import Artefacts
from deploy.services import ConfigFile, ConfigTree, Tier, Unit, litellm, litellm_config
from deploy.services.container import LABEL_DEPLOYMENT, LABEL_SERVICE, LABEL_SPEC
from deploy.spec import SecretText
from tests.conftest import MakeArtefacts
from tests.recognisable import LEAK

SERVICES = ["llama-cpp", "litellm", "open-webui"]


@pytest.fixture(params=["pull", "build"])
def artefacts(request: pytest.FixtureRequest, make: MakeArtefacts) -> Artefacts:
    return make(image_source=request.param)


@pytest.fixture(params=SERVICES)
def unit(request: pytest.FixtureRequest, artefacts: Artefacts) -> Unit:
    [found] = [c for c in artefacts.stack.units if c.container.service == request.param]
    return found


@pytest.fixture
def arguments(unit: Unit, artefacts: Artefacts) -> list[str]:
    return unit.create_arguments("demo", artefacts.secrets.digest)


def values(arguments: list[str], flag: str) -> Iterator[str]:
    for name, value in pairwise(arguments):
        if name == flag:
            yield value


def labels(arguments: list[str]) -> dict[str, str]:
    return dict(label.split("=", 1) for label in values(arguments, "--label"))


def test_it_has_no_privileges(arguments: list[str]) -> None:
    assert list(values(arguments, "--cap-drop")) == ["ALL"]
    assert list(values(arguments, "--security-opt")) == ["no-new-privileges"]
    assert not {"--privileged", "--cap-add", "--device", "--pid"} & set(arguments)
    assert not any("docker.sock" in argument for argument in arguments)


def test_none_of_them_writes_its_memory_to_a_disk_when_it_crashes(make: MakeArtefacts) -> None:
    made = make(postgres={}, valkey={}, entry={})
    assert len(made.stack.units) > 5
    for unit in made.stack.units:
        arguments = unit.create_arguments("demo", made.secrets.digest)
        assert "core=0:0" in values(arguments, "--ulimit"), unit.name


def test_it_inherits_no_proxy_of_dockers_client(arguments: list[str]) -> None:
    """Named without a value, a variable is not set: tests/e2e shows that Docker takes it so."""
    unset = {value for value in values(arguments, "--env") if "=" not in value}
    assert {"HTTP_PROXY", "https_proxy", "NO_PROXY"} <= unset
    assert len(unset) == 10


def test_a_declared_proxy_is_set(make: MakeArtefacts) -> None:
    made = make(engine={"env": {"HTTPS_PROXY": "http://proxy.lab:3128"}})
    arguments = made.stack.units[0].create_arguments("demo", made.secrets.digest)
    proxies = {value for value in values(arguments, "--env") if "PROXY" in value.upper()}
    # its health check asks itself, not the proxy
    assert {value for value in proxies if "=" in value} == {
        "HTTPS_PROXY=http://proxy.lab:3128",
        "NO_PROXY=localhost,127.0.0.1",
        "no_proxy=localhost,127.0.0.1",
    }
    assert "https_proxy" in proxies


def test_a_declared_no_proxy_stays_as_it_is(make: MakeArtefacts) -> None:
    made = make(engine={"env": {"https_proxy": "http://proxy.lab:3128", "no_proxy": ".lab"}})
    arguments = made.stack.units[0].create_arguments("demo", made.secrets.digest)
    assert {v for v in values(arguments, "--env") if v.upper().startswith("NO_PROXY")} == {
        "no_proxy=.lab",
        "NO_PROXY",
    }


def test_it_is_limited(arguments: list[str]) -> None:
    [memory] = values(arguments, "--memory")
    assert int(memory) >= 1024**3
    assert list(values(arguments, "--pids-limit")) == ["2048"]
    assert list(values(arguments, "--log-opt")) == ["max-size=10m", "max-file=3"]


def test_it_is_watched_and_restarted(arguments: list[str]) -> None:
    [check] = values(arguments, "--health-cmd")
    assert "http://127.0.0.1:" in check
    assert list(values(arguments, "--restart")) == ["unless-stopped"]


def test_it_is_labelled(unit: Unit, arguments: list[str], artefacts: Artefacts) -> None:
    found = labels(arguments)
    assert found[LABEL_DEPLOYMENT] == "demo"
    assert found[LABEL_SERVICE] == unit.container.service
    public = unit.container.public(artefacts.secrets.digest)
    assert json.loads(found[LABEL_SPEC]) == public


def test_no_secret_is_in_its_arguments(arguments: list[str], unit: Unit) -> None:
    assert LEAK not in "\0".join(arguments)
    assert unit.container.secret_env
    variables = {value.split("=")[0] for value in values(arguments, "--env")}
    assert not variables & set(unit.container.secret_env)


def test_a_secret_is_noticed_by_its_digest_alone(unit: Unit, artefacts: Artefacts) -> None:
    public = unit.container.public(artefacts.secrets.digest)
    assert all(value.startswith("hmac:") for value in public["secret_env"].values())
    assert LEAK not in json.dumps(public)


def test_ours_need_neither_root_nor_a_writable_root(make: MakeArtefacts) -> None:
    for unit in make(image_source="build").stack.units:
        assert unit.container.user == "65534:65534"
        assert unit.container.read_only


def test_the_image_comes_before_the_command(unit: Unit, arguments: list[str]) -> None:
    image = arguments.index(unit.container.image)
    assert tuple(arguments[image + 1 :]) == unit.container.command


def test_names(make: MakeArtefacts) -> None:
    stack = make(name="lab").stack
    assert [unit.container.name for unit in stack.units] == [
        "lab-llama-cpp-tiny-coder-0",
        "lab-litellm-0",
        "lab-open-webui-0",
    ]
    assert [unit.tier for unit in stack.units] == [Tier.ENGINE, Tier.ROUTER, Tier.WEB_UI]
    assert {unit.container.network for unit in stack.units} == {"lab"}


def ports(artefacts: Artefacts) -> dict[str, list[str]]:
    return {
        unit.container.service: list(
            values(unit.create_arguments("demo", lambda _: ""), "--publish")
        )
        for unit in artefacts.stack.units
    }


def test_what_is_published_is_published_on_this_machine(artefacts: Artefacts) -> None:
    assert ports(artefacts) == {
        "llama-cpp": [],
        "litellm": ["127.0.0.1:4000:4000"],
        "open-webui": ["127.0.0.1:3000:8080"],
    }


def test_the_engine_publishes_nothing_whatever_is_declared(make: MakeArtefacts) -> None:
    open_to_all = {"listen": "0.0.0.0"}  # noqa: S104
    published = ports(make(router=open_to_all, web_ui=open_to_all | {"port": 80}))
    assert published == {
        "llama-cpp": [],
        "litellm": ["0.0.0.0:4000:4000"],
        "open-webui": ["0.0.0.0:80:8080"],
    }


def find(artefacts: Artefacts, service: str) -> Unit:
    return next(c for c in artefacts.stack.units if c.container.service == service)


def test_the_engines_context_is_shared_by_its_slots(make: MakeArtefacts) -> None:
    model = {"name": "tiny-coder", "max_model_len": 1024, "max_num_seqs": 4}
    engine = {"threads": 3, "extra_args": ["--a"]}
    command = find(make(models=[model | {"extra_args": ["--b"]}], engine=engine), "llama-cpp")
    arguments = list(command.container.command)
    assert list(values(arguments, "--ctx-size")) == ["4096"]
    assert list(values(arguments, "--parallel")) == ["4"]
    assert list(values(arguments, "--threads")) == ["3"]
    assert arguments[-2:] == ["--a", "--b"]


def test_the_engine_serves_the_file_that_is_copied(demo: Artefacts) -> None:
    engine = find(demo, "llama-cpp")
    assert engine.model_file is not None
    [(target, mount)] = engine.container.mounts.items()
    [path] = values(list(engine.container.command), "--model")
    assert PurePosixPath(mount.source) / PurePosixPath(path).name == engine.model_file.path
    assert PurePosixPath(path).parent == target
    assert mount.read_only


def test_the_router_knows_the_engine(make: MakeArtefacts) -> None:
    artefacts = make(models=[{"name": "tiny-coder", "served_model_name": "coder"}])
    router, engine = find(artefacts, "litellm"), find(artefacts, "llama-cpp")
    assert router.config is not None
    [upstream] = yaml.safe_load(str(router.config.files["config.yaml"].content))["model_list"]
    [engine_port] = values(list(engine.container.command), "--port")
    [alias] = values(list(engine.container.command), "--alias")
    assert upstream["litellm_params"]["api_base"] == (
        f"http://{engine.container.name}:{engine_port}/v1"
    )
    assert upstream["model_name"] == alias == "coder"
    # the key itself is where no other container and no label of the router has it
    assert engine.container.secret_env["LLAMA_API_KEY"] == SecretText.of("engine_api_key")
    assert set(router.container.secret_env) == {"LITELLM_MASTER_KEY"}
    assert upstream["litellm_params"]["api_key"] == litellm_config.KEY


def test_streams_may_be_silent_longer_on_a_cpu_unless_declared(make: MakeArtefacts) -> None:
    for declared, expected in ((None, 300), (7, 7)):
        router = find(make(router={"stream_timeout_seconds": declared}), "litellm")
        assert router.config is not None
        [upstream] = yaml.safe_load(str(router.config.files["config.yaml"].content))["model_list"]
        assert upstream["litellm_params"]["stream_timeout"] == expected


def test_a_time_out_is_not_waited_for_twice_at_a_replica(make: MakeArtefacts) -> None:
    for replicas, retries in ((1, 0), (2, 1), (4, 2)):
        router = find(make(models=[{"name": "tiny-coder", "replicas": replicas}]), "litellm")
        assert router.config is not None
        config = yaml.safe_load(str(router.config.files["config.yaml"].content))
        policy = config["router_settings"]["model_group_retry_policy"]
        assert policy == {"tiny-coder": {"TimeoutErrorRetries": retries}}


def test_the_router_loads_the_hooks_beside_its_configuration(demo: Artefacts) -> None:
    router = find(demo, "litellm")
    assert router.config is not None
    config = yaml.safe_load(str(router.config.files["config.yaml"].content))
    [callback] = config["litellm_settings"]["callbacks"]
    module, instance = callback.split(".")
    assert f"\n{instance} = " in router.config.files[f"{module}.py"].content


def test_the_web_ui_knows_the_router_and_lets_nobody_sign_up(demo: Artefacts) -> None:
    web_ui, router = find(demo, "open-webui").container, find(demo, "litellm").container
    assert web_ui.env["OPENAI_API_BASE_URLS"] == f"http://{router.name}:4000/v1"
    assert web_ui.env["ENABLE_SIGNUP"] == "false"
    assert web_ui.env["ENABLE_PERSISTENT_CONFIG"] == "false"
    assert web_ui.secret_env["OPENAI_API_KEYS"] == router.secret_env["LITELLM_MASTER_KEY"]
    assert web_ui.env["CORS_ALLOW_ORIGIN"] == "http://127.0.0.1:3000;http://localhost:3000"


def test_the_web_ui_sends_nothing_to_openai(demo: Artefacts) -> None:
    """Its own default for memories, sound and pictures, whoever answers chats (config.py)."""
    env = find(demo, "open-webui").container.env
    by_default = ["RAG", "AUDIO_STT", "AUDIO_TTS", "IMAGES", "IMAGES_EDIT"]
    for name in by_default:
        assert env[f"{name}_OPENAI_API_BASE_URL"] == env["OPENAI_API_BASE_URLS"]
    # they are found by embeddings, and there is no model for that
    assert env["ENABLE_MEMORIES"] == "false"


def test_a_public_address_is_an_allowed_origin(make: MakeArtefacts) -> None:
    env = find(make(web_ui={"url": "https://chat.lab"}), "open-webui").container.env
    assert env["WEBUI_URL"] == "https://chat.lab"
    assert str(env["CORS_ALLOW_ORIGIN"]).split(";")[0] == "https://chat.lab"


def test_declared_environment_wins(make: MakeArtefacts) -> None:
    artefacts = make(
        engine={"env": {"A": "1"}},
        router={"env": {"LITELLM_MODE": "DEV"}},
        web_ui={"env": {"ENABLE_SIGNUP": "true"}},
    )
    assert find(artefacts, "llama-cpp").container.plain_env == {
        "A": "1",
        "LLAMA_ARG_CACHE_RAM": "256",
    }
    assert find(artefacts, "litellm").container.env["LITELLM_MODE"] == "DEV"
    assert find(artefacts, "open-webui").container.env["ENABLE_SIGNUP"] == "true"


def test_a_deployment_without_a_web_ui(make: MakeArtefacts) -> None:
    stack = make(web_ui=None).stack
    assert [c.container.service for c in stack.units] == ["llama-cpp", "litellm"]
    assert "web_ui_admin_password" not in stack.secrets


def tree(**files: ConfigFile) -> ConfigTree:
    return ConfigTree(root=PurePosixPath("/srv/config/x"), files=files)


def test_a_release_is_named_after_names_modes_and_contents() -> None:
    first = tree(a=ConfigFile(content="1"), b=ConfigFile(content="2"))
    assert first.release == tree(b=ConfigFile(content="2"), a=ConfigFile(content="1")).release
    others = [
        tree(a=ConfigFile(content="1"), b=ConfigFile(content="3")),
        tree(a=ConfigFile(content="1"), c=ConfigFile(content="2")),
        tree(a=ConfigFile(content="1", mode=0o600), b=ConfigFile(content="2")),
        tree(a=ConfigFile(content="1")),
    ]
    assert len({first.release, *(other.release for other in others)}) == 5
    assert first.directory == PurePosixPath("/srv/config/x") / first.release


def test_changed_files_change_the_container(make: MakeArtefacts) -> None:
    """Through the mounted directory: a container never sees its files change."""
    one, two = (find(make(router={"num_retries": n}), "litellm") for n in (1, 2))
    assert one.container != two.container
    assert one.config is not None
    mount = one.container.mounts[litellm.CONFIG]
    assert mount.source == str(one.config.directory)


def test_secrets_may_be_in_any_environment(
    make: MakeArtefacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And are in no argument and no label: they reach the container on standard input."""
    monkeypatch.setenv("HUB_TOKEN", "hf_leaked-token")
    source = Secret(env="HUB_TOKEN")
    artefacts = make(
        engine={"env": {"LAB_TOKEN": source}},
        router={"env": {"OTEL_HEADERS": source}},
        web_ui={"env": {"SEARCH_API_KEY": source}},
    )
    for service, variable in (
        ("llama-cpp", "LAB_TOKEN"),
        ("litellm", "OTEL_HEADERS"),
        ("open-webui", "SEARCH_API_KEY"),
    ):
        unit = find(artefacts, service)
        text = unit.container.secret_env[variable]
        assert artefacts.secrets.render(text) == "hf_leaked-token"
        assert "leaked" not in str(unit.create_arguments("demo", artefacts.secrets.digest))
    assert artefacts.secrets.redact("it said hf_leaked-token") == "it said <variable HUB_TOKEN>"
    monkeypatch.setenv("HUB_TOKEN", "hf_another-token")
    changed = find(make(engine={"env": {"LAB_TOKEN": source}}), "llama-cpp").container
    assert changed.secret_env == find(artefacts, "llama-cpp").container.secret_env


def test_security_settings_are_part_of_the_description(artefacts: Artefacts) -> None:
    """So that an upgrade of Atelier that changes them shows as drift."""
    public = find(artefacts, "litellm").container.public(artefacts.secrets.digest)
    assert public["cap_drop"] == ["ALL"]
    assert public["security_opt"] == ["no-new-privileges"]
    assert public["log_driver"] == "json-file"
