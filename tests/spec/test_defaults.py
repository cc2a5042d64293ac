"""What an operator gets without asking, and that nobody changes it later."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from deploy import (
    Deployment,
    Driver,
    Engine,
    Entry,
    Host,
    Image,
    Ldap,
    Model,
    Oidc,
    Postgres,
    Router,
    Secret,
    Valkey,
    WebUI,
    pyinfra_hosts,
)
from deploy.inventory import load_inventory
from deploy.spec import DeploymentSpec, HostSpec, SecretName
from deploy.spec.base import Spec
from tests.conftest import declare

MIB = 1024**2
GIB = 1024**3
ENGINE: dict[str, Any] = {
    "kind": "llama_cpp",
    "max_num_seqs": None,
    "max_model_len": None,
    "quantization": None,
    "threads": None,
    "n_gpu_layers": "all",
    "backend": "auto",
    "split_mode": "layer",
    "tensor_split": [],
    "flash_attn": "auto",
    "tensor_parallel_size": None,
    "pipeline_parallel_size": None,
    "nnodes": 1,
    "master_port": 29501,
    "gpu_memory_utilization": 0.9,
    "max_num_batched_tokens": None,
    "kv_cache_dtype": "auto",
    "keep_alive": "-1",
    "shared": None,
    "max_loaded_models": 1,
    "dtype": "auto",
    "shm_size": 8 * GIB,
    "ipc": "private",
    "huggingface_cache": None,
    "offline": False,
    "block_size": None,
    "enforce_eager": False,
    "scheduling_policy": "fcfs",
    "enable_expert_parallel": False,
    "cpu_kvcache_space": None,
    "cpu_omp_threads_bind": None,
    "port": 8000,
    "trusted_network": False,
    "memory_limit": None,
    "start_timeout_seconds": 600,
    "drain_seconds": 120,
    "hang_seconds": None,
    "env": {},
    "extra_args": [],
}
ROUTER = {
    "listen": "127.0.0.1",
    "port": 4000,
    "memory_limit": 2 * GIB,
    "start_timeout_seconds": 180,
    "env": {},
    "kind": "litellm",
    "aristote": None,
    "recycle_at": 0.8,
    "request_log_days": 30,
    "priorities": {},
    "num_retries": 2,
    "replicas": 1,
    "drain_seconds": 120,
    "aliases": {},
    "fallbacks": {},
    "prices": {},
    "request_timeout_seconds": 600,
    "stream_timeout_seconds": None,
    "models": None,
    "host": None,
}
WEB_UI = {
    "listen": "127.0.0.1",
    "port": 3000,
    "memory_limit": 2 * GIB,
    "start_timeout_seconds": 180,
    "env": {},
    "kind": "open_webui",
    "title": None,
    "host": None,
    "url": None,
    "admin_email": "admin@atelier.local",
    "people_only": False,
    "replicas": 1,
    "drain_seconds": 60,
    "oidc": None,
    "ldap": None,
    "login_form": True,
    "session_hours": None,
}


ENTRY: dict[str, Any] = {
    "kind": "haproxy",
    "host": None,
    "listen": "0.0.0.0",  # noqa: S104 - what it is by default
    "http_port": 80,
    "https_port": 443,
    "names": [],
    "certificate": None,
    "key": None,
    "acme": None,
    "requests_per_minute": 1200,
    "connections": 200,
    "router_admin": False,
    "router_admin_networks": [],
    "memory_limit": GIB // 2,
    "start_timeout_seconds": 60,
}


@pytest.mark.parametrize(
    ("declared", "defaults"),
    [
        (
            Driver(),
            {
                "branch": None,
                "version": None,
                "flavour": None,
                "source": None,
                "repository": None,
                "key_fingerprint": None,
                "toolkit": "install",
                "toolkit_repository": None,
                "toolkit_key_fingerprint": None,
                "reboot": "ask",
                "reboot_window": None,
                "reboot_timeout_seconds": 900,
            },
        ),
        (Engine(), ENGINE),
        (Router(), ROUTER),
        (WebUI(), WEB_UI),
        (Entry(), ENTRY),
        (
            Oidc(issuer="https://id.lab", client_id="chat", client_secret=Secret(env="OIDC")),
            {
                "issuer": "https://id.lab",
                "client_id": "chat",
                "client_secret": {"env": "OIDC", "file": None, "command": None},
                "label": "single sign-on",
                "scopes": ["openid", "email", "profile"],
                "email_claim": "email",
                "name_claim": "name",
                "groups_claim": "groups",
                "roles_claim": "roles",
                "allowed_groups": [],
                "admin_groups": [],
                "allowed_roles": [],
                "admin_roles": [],
                "merge_accounts_by_email": False,
                "ca_file": None,
            },
        ),
        (
            Ldap(url="ldaps://ldap.lab", search_base="dc=lab"),
            {
                "url": "ldaps://ldap.lab",
                "search_base": "dc=lab",
                "bind_dn": None,
                "bind_password": None,
                "username_attribute": "uid",
                "email_attribute": "mail",
                "groups_attribute": "memberOf",
                "allowed_groups": [],
                "filter": "",
                "label": "LDAP",
                "ca_file": None,
                "trusted_network": False,
            },
        ),
        (Image(), {"source": None, "reference": None, "archive": None}),
        (
            Host(name="@local"),
            {
                "name": "@local",
                "address": None,
                "ssh_user": None,
                "ssh_port": None,
                "ssh_key": None,
                "ssh_jump": None,
                "ssh_host_keys": "known",
                "docker": None,
                "docker_settings": {},
                "sudo": False,
                "gpus": [],
                "mig": {},
                "power_limit_watts": None,
                "gpu_clocks_mhz": None,
                "driver": None,
                "gpu_runtime": None,
                "gpu_groups": [44],
                "weights": "download",
                "engines": "containers",
                "programs": {},
                "service_user": None,
                "system": "linux",
                "wired_limit_mib": None,
                "directory": "/var/lib/atelier",
            },
        ),
        (
            Model(name="m"),
            {
                "name": "m",
                "path": None,
                "served_model_name": None,
                "max_model_len": None,
                "max_num_seqs": None,
                "extra_args": [],
                "config": None,
                "engine": None,
                "gpus": None,
                "quantization": None,
                "replicas": None,
                "roles": None,
                "weights": None,
                "extra_weights": [],
                "weights_gib": None,
                "tool_call_parser": None,
                "reasoning_parser": None,
                "lora_adapters": {},
                "max_lora_rank": None,
                "speculative": None,
                "language_model_only": False,
            },
        ),
        (
            Postgres(),
            {
                "memory_limit": GIB,
                "start_timeout_seconds": 180,
                "max_connections": 100,
                "web_ui": True,
                "router_database_url": None,
                "web_ui_database_url": None,
            },
        ),
        (
            Valkey(),
            {"memory_limit": 256 * MIB, "start_timeout_seconds": 180, "url": None},
        ),
        (Secret(env="KEY"), {"env": "KEY", "file": None, "command": None}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Spec) else "",
)
def test_defaults_of_a_part(declared: Spec, defaults: dict[str, Any]) -> None:
    assert declared.to_json() == defaults


def test_defaults_of_a_deployment() -> None:
    spec = Deployment(name="d", hosts=[Host(name="h")], models=[Model(name="m")])
    data = spec.to_json()
    del data["hosts"], data["models"]
    assert data == {
        "name": "d",
        "profile": None,
        "users": 1,
        "use": "internal_commercial",
        "context_tokens": None,
        "engine": ENGINE,
        "router": ROUTER,
        "web_ui": WEB_UI,
        "limits": {
            "max_budget": None,
            "budget_duration": None,
            "tpm_limit": None,
            "rpm_limit": None,
            "max_parallel_requests": None,
        },
        "routers": [],
        "links": {"port": 8443, "memory_limit": 256 * 2**20, "start_timeout_seconds": 60},
        "teams": [],
        "people": [],
        "people_file": None,
        "postgres": None,
        "valkey": None,
        "entry": None,
        "image_source": "pull",
        "image_archives": None,
        "registry_mirror": None,
        "registries": [],
        "huggingface_endpoint": "https://huggingface.co",
        "images": {},
        "secrets": {},
        "secrets_file": None,
    }


def specs(kind: type[BaseModel] = Spec) -> Iterator[type[BaseModel]]:
    for subclass in kind.__subclasses__():
        yield subclass
        yield from specs(subclass)


@pytest.mark.parametrize("spec", list(specs()), ids=lambda spec: spec.__name__)
def test_specs_are_frozen_and_refuse_extras(spec: type[BaseModel]) -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        spec.model_validate({"surely_not_a_setting": 1})
    blank = spec.model_construct()
    with pytest.raises(ValidationError, match="frozen"):
        blank.env = {}  # type: ignore[attr-defined]


def test_the_profile_fills_in_what_is_not_declared() -> None:
    spec = declare(engine={"threads": 4}, router=Router(port=4001))
    assert (spec.users, spec.engine.threads, spec.engine.max_num_seqs) == (3, 4, 2)
    assert spec.router.port == 4001
    assert declare(users=2).users == 2


def test_specs_and_mappings_declare_the_same() -> None:
    mixed = declare(
        hosts=[Host(name="h", gpus=["h100"])],
        router=Router(memory_limit="1GiB"),
        secrets={"router_master_key": Secret(command=["pass", "show", "router"])},
    )
    plain = declare(
        hosts=[{"name": "h", "gpus": ["h100"]}],
        router={"memory_limit": GIB},
        secrets={"router_master_key": {"command": ["pass", "show", "router"]}},
    )
    assert mixed == plain


YAML = """
name: demo
profile: individual
hosts:
  - name: gpu1
    address: 10.0.0.1
    ssh_port: 2222
    sudo: true
    directory: /srv/atelier
models:
  - name: own
    path: models/own.gguf
    served_model_name: coder
    extra_args: [--no-warmup]
engine: {memory_limit: 8GiB, env: {LLAMA_LOG_COLORS: "0"}}
web_ui: {listen: 0.0.0.0, port: 8080, url: "https://chat.lab.example/"}
secrets:
  router_master_key: {file: master.key}
images:
  litellm: {reference: "registry.lab/litellm:v1"}
"""


def test_yaml_declares_the_same_as_python(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(YAML)
    assert Deployment.load(path) == Deployment(
        name="demo",
        profile="individual",
        hosts=[
            Host(
                name="gpu1",
                address="10.0.0.1",
                ssh_port=2222,
                sudo=True,
                directory="/srv/atelier",
            )
        ],
        models=[
            Model(
                name="own",
                path="models/own.gguf",
                served_model_name="coder",
                extra_args=["--no-warmup"],
            )
        ],
        engine=Engine(memory_limit="8GiB", env={"LLAMA_LOG_COLORS": "0"}),
        web_ui=WebUI(listen="0.0.0.0", port=8080, url="https://chat.lab.example"),  # noqa: S104
        secrets={"router_master_key": Secret(file="master.key")},
        images={"litellm": Image(reference="registry.lab/litellm:v1")},
    )


def test_yaml_is_found_next_to_its_inventory_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "x.yaml").write_text(YAML)
    (tmp_path / "lab" / "site.py").write_text(
        "from deploy import Deployment, pyinfra_hosts\n"
        "hosts = pyinfra_hosts(Deployment.load('x.yaml'), __file__)\n"
    )
    monkeypatch.chdir(tmp_path)
    assert load_inventory(Path("lab/site.py")).spec.name == "demo"


def test_paths_below_the_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    program = {"llama-server": {"archive": "~/llama.tar.gz", "version": "b1"}}
    spec = declare(
        secrets={"router_master_key": {"file": "~/key"}},
        secrets_file="~/lab.yaml",
        image_archives="~/images",
        hosts=[{"name": "gpu1", "engines": "native", "programs": program}],
        models=[{"name": "mine", "path": "~/m/mine.gguf"}],
    )
    home = Path("/home/ada")
    assert spec.secrets[SecretName.ROUTER_MASTER_KEY].file == home / "key"
    assert (spec.secrets_file, spec.image_archives) == (home / "lab.yaml", home / "images")
    assert spec.hosts[0].programs["llama-server"].archive == "/home/ada/llama.tar.gz"
    assert spec.models[0].path == home / "m/mine.gguf"


@pytest.mark.parametrize(
    ("declared", "key"),
    [("keys/lab", "DIRECTORY/keys/lab"), ("~/.ssh/lab", "~/.ssh/lab"), ("/k", "/k"), (None, None)],
)
def test_keys_are_found_next_to_their_inventory(
    tmp_path: Path, declared: str | None, key: str | None
) -> None:
    (tmp_path / "lab.yaml").write_text(
        json.dumps(
            {
                "name": "lab",
                "hosts": [{"name": "gpu1", "ssh_key": declared}],
                "models": [{"name": "tiny-coder"}],
            }
        )
    )
    [host] = load_inventory(tmp_path / "lab.yaml").spec.hosts
    assert host.ssh_key == (key and key.replace("DIRECTORY", str(tmp_path)))


def test_a_spec_survives_json() -> None:
    spec = declare(
        engine={"memory_limit": "8GiB"}, secrets={"router_master_key": {"env": "KEY"}}, web_ui=None
    )
    assert DeploymentSpec.model_validate_json(spec.model_dump_json()) == spec


def schema_properties(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, dict):
        for name, definition in schema.get("properties", {}).items():
            yield f"{path}/{name}", definition
        for name, value in schema.items():
            yield from schema_properties(value, f"{path}/{name}")


def test_the_schema_describes_every_setting() -> None:
    properties = dict(schema_properties(DeploymentSpec.model_json_schema()))
    assert len(properties) > 50
    assert [path for path, setting in properties.items() if not setting.get("description")] == []


def test_the_schema_knows_what_is_required_and_allowed() -> None:
    schema = DeploymentSpec.model_json_schema()
    assert schema["required"] == ["name", "hosts", "models"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["image_source"]["enum"] == ["pull", "build", "load"]


def test_an_inventory_gives_pyinfra_its_hosts(tmp_path: Path) -> None:
    spec = declare(
        hosts=[
            {
                "name": "gpu1",
                "address": "10.0.0.1",
                "ssh_user": "me",
                "ssh_port": 22,
                "ssh_key": "k",
                "sudo": True,
            }
        ]
    )
    [(name, data)] = pyinfra_hosts(spec, str(tmp_path / "x.py"))
    declared = data.pop("atelier")
    assert name == "gpu1"
    assert data == {
        "ssh_hostname": "10.0.0.1",
        "ssh_user": "me",
        "ssh_port": 22,
        "ssh_key": f"{tmp_path}/k",
        "_sudo": True,
    }
    assert (declared.spec.models, declared.directory) == (spec.models, tmp_path)
    assert declared.to_json()["spec"]["name"] == "demo"


@pytest.mark.parametrize("address", ["10.0.0.1", "gpu-1.lab", "fd00::7", "fe80::1%eth0", "::1"])
def test_a_host_is_reached_by_name_or_by_an_address_of_either_kind(address: str) -> None:
    assert HostSpec(name="gpu1", address=address).address == address


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ENABLE_API_KEY", "true"),
        ("ENABLE_API_KEY", "False"),
        ("OAUTH_ID_TOKEN", ""),
        ("TOKENS_PER_MINUTE", "4096"),
        ("API_KEY_HEADER", "X-Lab"),
        ("SERVED_MODELS", "lab/sk-coder-instruct-7b-q4 hf_coder_instruct_7b_q4"),
    ],
)
def test_what_is_no_secret_is_taken_in_plain_text(name: str, value: str) -> None:
    assert declare(engine={"env": {name: value}}).engine.env == {name: value}
