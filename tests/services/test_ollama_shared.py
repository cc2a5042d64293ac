"""One Ollama for several models: its container, its names at routers, the ways to it."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import pytest
import yaml

from deploy.artefacts import Artefacts
from deploy.catalog.entry import DIRECTORY
from deploy.changes.drift import unit_change
from deploy.changes.expected import expected
from deploy.hosts.downloads import downloads_on
from deploy.hosts.room import room_needs
from deploy.hosts.state import Daemon, HostState
from deploy.hosts.subject import Subject
from deploy.services import Tier, Unit
from deploy.services.engines import container_name, upstream
from tests.conftest import MakeArtefacts
from tests.operations.found import live
from tests.services.test_haproxy import rules, sections
from tests.services.test_launchd import MAC, WEB

FILE = DIRECTORY / "models" / "tiny-coder-q8_0.gguf"
ENGINE: dict[str, Any] = {"kind": "ollama", "shared": "desk", "max_model_len": 2048}
CHAT: dict[str, Any] = {"name": "qwen2.5-coder-7b", "roles": ["chat"]}
CODE: dict[str, Any] = {"name": "qwen2.5-coder-1.5b-base", "roles": ["completion"]}
TINY: dict[str, Any] = {"name": "tiny-coder", "roles": ["completion"]}
OWN: dict[str, Any] = {"name": "own", "path": str(FILE), "roles": ["chat"]}
NAME = "demo-ollama-desk-0"


def shared(make: MakeArtefacts, *models: dict[str, Any], **settings: Any) -> Artefacts:
    engine = ENGINE | settings.pop("engine", {})
    return make(**{"engine": engine, "models": list(models), "web_ui": None} | settings)


def engine_of(artefacts: Artefacts) -> Unit:
    [unit] = artefacts.stack.tier(Tier.ENGINE)
    return unit


def config_of(artefacts: Artefacts) -> list[dict[str, Any]]:
    [router] = artefacts.stack.tier(Tier.ROUTER)
    assert router.config is not None
    found: list[dict[str, Any]] = yaml.safe_load(str(router.config.files["config.yaml"].content))[
        "model_list"
    ]
    return found


def test_one_container_serves_all(make: MakeArtefacts) -> None:
    unit = engine_of(shared(make, CHAT, CODE, engine={"max_loaded_models": 2, "keep_alive": "30m"}))
    assert unit.name == NAME
    assert unit.volumes == (NAME,)
    env = unit.container.env
    assert env["OLLAMA_MAX_LOADED_MODELS"] == "2"
    assert env["OLLAMA_KEEP_ALIVE"] == "30m"
    assert env["OLLAMA_NUM_PARALLEL"] == "2"
    assert env["OLLAMA_CONTEXT_LENGTH"] == "2048"
    # each of the two processes may keep prompts
    assert env["LLAMA_ARG_CACHE_RAM"] == str(unit.container.memory_bytes // 8 // 2 // 2**20)
    assert [model.name for model in unit.models] == [
        "qwen2.5-coder:7b-instruct-q4_K_M",
        "qwen2.5-coder:1.5b-base-q4_K_M",
    ]
    assert {model.volume for model in unit.models} == {NAME}


def test_its_models_are_loaded_when_they_are_asked_for(make: MakeArtefacts) -> None:
    """Nothing is put right that Ollama unloads itself, also where nobody needs the place."""
    engine = {"keep_alive": "-1", "max_loaded_models": 2}
    unit = engine_of(shared(make, CHAT, CODE, engine=engine))
    assert [model.resident for model in unit.models] == [False, False]


def test_files_are_found_below_the_directory_of_all(make: MakeArtefacts) -> None:
    unit = engine_of(shared(make, TINY, OWN))
    assert [file.source.path for file in unit.model_files] == [FILE, FILE]
    mount = unit.container.mounts[PurePosixPath("/models")]
    assert (mount.source, mount.read_only) == ("/var/lib/atelier/models", True)
    for model in unit.models:
        assert model.file is not None
        seen = model.file.path.relative_to(mount.source)
        assert model.modelfile.splitlines()[0] == f"FROM /models/{seen}"


@pytest.mark.parametrize(
    ("before", "after"),
    [([CHAT], [CHAT, CODE]), ([TINY], [TINY, OWN]), ([CHAT, TINY], [CHAT]), ([CHAT, CODE], [CHAT])],
    ids=["from the library", "from a file", "the last file goes", "one of the library goes"],
)
def test_the_container_stays_when_models_come_and_go(
    make: MakeArtefacts, before: list[dict[str, Any]], after: list[dict[str, Any]]
) -> None:
    """But for its mount, where the first model of a file comes, or the last one goes."""
    old, new = shared(make, *before), shared(make, *after)
    running = live(old, NAME, image_id="sha256:1")
    wanted = expected(engine_of(new), "demo", "sha256:1", new.secrets)
    change = unit_change(NAME, wanted, [running], config_is_newer=False)
    fields = [field.field for field in change.fields] if change else []
    has_files = [any("path" in m or m is TINY for m in models) for models in (before, after)]
    assert all("/models" in field for field in fields)
    assert bool(fields) == (has_files[0] != has_files[1])


def test_a_larger_model_changes_the_limit_and_replaces_it(make: MakeArtefacts) -> None:
    old, new = shared(make, CODE), shared(make, CODE, CHAT)
    wanted = expected(engine_of(new), "demo", "sha256:1", new.secrets)
    change = unit_change(NAME, wanted, [live(old, NAME)], config_is_newer=False)
    assert change is not None
    assert {field.field.split(".")[-1] for field in change.fields} == {
        "memory_bytes",
        "LLAMA_ARG_CACHE_RAM",
    }


def test_litellm_knows_each_model_by_a_name_of_its_own(make: MakeArtefacts) -> None:
    rows = config_of(shared(make, CHAT, CODE))
    assert [row["model_name"] for row in rows] == ["qwen2.5-coder-7b", "qwen2.5-coder-1.5b-base"]
    assert [row["litellm_params"]["model"] for row in rows] == [
        "ollama_chat/qwen2.5-coder:7b-instruct-q4_K_M",
        "openai/qwen2.5-coder:1.5b-base-q4_K_M",
    ]
    assert [row["litellm_params"]["api_base"] for row in rows] == [
        f"http://{NAME}:11434",
        f"http://{NAME}:11434/v1",
    ]
    assert len({row["model_info"]["id"] for row in rows}) == 2


def test_requests_of_all_models_are_kept_away_while_it_is_replaced(make: MakeArtefacts) -> None:
    artefacts = shared(make, CHAT, CODE)
    route = engine_of(artefacts).route
    assert route is not None
    assert set(route.names) == {row["model_info"]["id"] for row in config_of(artefacts)}


def test_routers_wait_for_a_load_on_gpus_too(make: MakeArtefacts) -> None:
    hosts = [{"name": "@local", "gpus": "rtx-4090"}]
    [row] = config_of(shared(make, CHAT, hosts=hosts))
    assert row["litellm_params"]["stream_timeout"] == 300
    [alone] = config_of(make(engine={"kind": "ollama"}, models=[CHAT], hosts=hosts, web_ui=None))
    assert alone["litellm_params"]["stream_timeout"] == 60


def test_it_has_its_share_of_a_gpu_once(make: MakeArtefacts) -> None:
    hosts = [{"name": "@local", "gpus": "rtx-4090"}]
    unit = engine_of(shared(make, CHAT, CODE, hosts=hosts))
    assert unit.holds.gpus == {0: 0.9}
    assert unit.container.gpus == (0,)


def test_aristote_asks_it_for_each_model(make: MakeArtefacts) -> None:
    artefacts = shared(make, TINY, OWN, router={"kind": "aristote"}, postgres={})
    servers = [unit.container.env["VLLM_SERVERS"] for unit in artefacts.stack.tier(Tier.CONSUMER)]
    assert servers == [f'{{"http://{NAME}:11434": {{"organization": "atelier"}}}}'] * 2
    assert [unit.container.env["MODEL"] for unit in artefacts.stack.tier(Tier.CONSUMER)] == [
        "tiny-coder",
        "own",
    ]


def test_a_link_leads_to_it_once(make: MakeArtefacts) -> None:
    hosts = [{"name": "web", "address": "10.0.0.1"}, {"name": "gpu", "address": "10.0.0.2"}]
    hosts[1] |= {"gpus": "rtx-4090"}
    artefacts = shared(make, CHAT, CODE, hosts=hosts)
    for unit in artefacts.stack.tier(Tier.LINK):
        if unit.config:
            [condition] = rules(sections(unit)["frontend requests"], "use_backend")
            assert condition[1:] == f"if {{ var(txn.asked) -m str {NAME} }}".split()
        assert unit.route is not None
        assert set(unit.route.names) == {f"{NAME}-{model['name']}" for model in (CHAT, CODE)}
    for replica in artefacts.plan.replicas:
        assert container_name(artefacts.context, replica) == NAME
        address = upstream(artefacts.context, replica).address
        assert address == f"demo-listener-client-0:8080/{NAME}"


def test_a_mac_has_one_daemon_for_all(make: MakeArtefacts) -> None:
    engine = ENGINE | {"trusted_network": True}
    artefacts = make(hosts=[WEB, MAC], engine=engine, models=[CHAT, CODE, TINY | {"config": None}])
    [unit] = artefacts.stack.on("mac")
    assert (unit.name, unit.runs.listens) == (NAME, (("10.0.0.21", 8000),))
    assert len(unit.models) == 3
    assert unit.models[2].file is not None
    assert unit.models[2].modelfile.startswith(f"FROM {unit.models[2].file.path}\n")
    assert {str(model.home) for model in unit.models} == {f"/var/lib/atelier.demo/{NAME}"}
    bases = {row["litellm_params"]["api_base"].removesuffix("/v1") for row in config_of(artefacts)}
    assert bases == {"http://10.0.0.21:8000"}


def test_each_model_needs_its_room_on_the_disk(make: MakeArtefacts) -> None:
    """Disk for all of them, also where one is loaded at a time."""
    size = FILE.stat().st_size
    artefacts = shared(make, TINY, OWN)
    needs = room_needs(Subject(artefacts.host("@local"), artefacts.stack.on("@local")), HostState())
    stored = [need for need in needs if need.place == "volumes" and need.size_bytes]
    assert [(need.what, need.size_bytes) for need in stored] == [
        (f"tiny-coder:latest in {NAME}", size),
        (f"own:latest in {NAME}", size),
    ]
    hosts = [{"name": "@local", "gpus": "rtx-4090"}]
    artefacts = shared(make, CHAT, CODE, hosts=hosts)
    found = downloads_on("@local", artefacts.context)
    subject = Subject(artefacts.host("@local"), artefacts.stack.on("@local"), downloads=found)
    fresh = [need.what for need in room_needs(subject, HostState()) if need.place == "volumes"]
    assert fresh == [f"weights of {model['name']}, about" for model in (CHAT, CODE)]
    there = HostState(daemon=Daemon(volumes=frozenset([NAME])))
    assert not [need for need in room_needs(subject, there) if need.place == "volumes"]
