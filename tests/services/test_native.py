"""An engine as a service of its host: the unit file that systemd reads, and who reaches it."""

from __future__ import annotations

import re
import shlex
import tarfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from deploy.artefacts import Artefacts
from deploy.cli.plan_text import plan_text
from deploy.errors import InventoryFileError, PlanError
from deploy.plan.to_json import plan_to_json
from deploy.services import Marks, SystemdSpec, Unit
from deploy.services.systemd import command_word, quoted, secret_value, specifiers
from tests.conftest import MakeArtefacts
from tests.recognisable import LEAK

NATIVE: dict[str, Any] = {
    "name": "@local",
    "address": "10.0.0.7",
    "engines": "native",
    "programs": {"llama-server": {"path": "/usr/bin/llama-server"}},
}


def engine_of(artefacts: Artefacts) -> Unit:
    return artefacts.stack.units[0]


def service_of(artefacts: Artefacts) -> SystemdSpec:
    runs = engine_of(artefacts).runs
    assert isinstance(runs, SystemdSpec)
    return runs


def unit_file(artefacts: Artefacts) -> dict[str, list[str]]:
    """Every value of each setting of the unit file."""
    [text] = engine_of(artefacts).create_arguments("demo", artefacts.secrets.digest)
    values: dict[str, list[str]] = {}
    for line in text.splitlines():
        if "=" in line and not line.startswith("#"):
            name, value = line.split("=", 1)
            values.setdefault(name, []).append(value)
    return values


def test_what_systemd_reads(make: MakeArtefacts) -> None:
    found = unit_file(make(hosts=[NATIVE]))
    [start] = found["ExecStart"]
    words = shlex.split(start)
    assert words[0] == "/usr/bin/llama-server"
    arguments = dict(pairwise(words))
    assert (arguments["--host"], arguments["--port"]) == ("10.0.0.7", "8000")
    assert arguments["--model"].startswith("/var/lib/atelier/models/")
    # of 2 GiB of memory an eighth is for prompts; without a word llama-server takes up to 8 GiB
    assert "LLAMA_ARG_CACHE_RAM=256" in found["Environment"]
    assert found["DynamicUser"] == ["yes"]
    assert found["Restart"] == ["always"]
    assert found["WantedBy"] == ["multi-user.target"]
    assert found["EnvironmentFile"] == [
        "/etc/atelier/services/demo-llama-cpp-tiny-coder-0/environment"
    ]
    assert found["StateDirectory"] == ["atelier.demo/demo-llama-cpp-tiny-coder-0"]
    assert int(found["MemoryMax"][0]) == service_of(make(hosts=[NATIVE])).memory_bytes
    assert found["CapabilityBoundingSet"] == [""]
    assert found["Deployment"] == ["demo"]
    assert found["Holds"] == ['{"gpus":{},"ports":[8000]}']


def test_a_declared_account(make: MakeArtefacts) -> None:
    found = unit_file(make(hosts=[NATIVE | {"service_user": "llama"}]))
    assert (found["User"], "DynamicUser" in found) == (["llama"], False)


def test_secrets_are_in_the_environment_file_alone(make: MakeArtefacts) -> None:
    engine = {"env": {"PLAIN": '50 % of "it"', "TOKEN": {"env": "LAB_TOKEN"}}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAB_TOKEN", 'a"b$c`d\\e')
        artefacts = make(hosts=[NATIVE], engine=engine)
        runs, secrets = service_of(artefacts), artefacts.secrets
        [text] = engine_of(artefacts).create_arguments("demo", secrets.digest)
        assert LEAK not in text
        assert 'a"b$c' not in text
        environment = runs.secret_environment(secrets.render)
    rows = dict(line.split("=", 1) for line in environment.splitlines())
    assert rows["TOKEN"] == r'"a\"b\$c\`d\\e"'
    assert LEAK in rows["LLAMA_API_KEY"]
    assert r'"PLAIN=50 %% of \"it\""' in text


def test_the_router_reaches_it_at_its_host(make: MakeArtefacts) -> None:
    artefacts = make(hosts=[NATIVE])
    [router] = [unit for unit in artefacts.stack.units if unit.runs.service == "litellm"]
    assert router.config is not None
    config = yaml.safe_load(str(router.config.files["config.yaml"].content))
    assert config["model_list"][0]["litellm_params"]["api_base"] == "http://10.0.0.7:8000/v1"
    health = service_of(artefacts).health
    assert "10.0.0.7:8000/health" in health


def test_several_on_one_host_have_a_port_each(make: MakeArtefacts, tmp_path: Path) -> None:
    tiny = Path(__file__).parents[2] / "deploy/catalog/models/tiny-coder-q8_0.gguf"
    models = [{"name": name, "path": str(tiny)} for name in ("a", "b")]
    artefacts = make(hosts=[NATIVE], models=models)
    engines = [unit for unit in artefacts.stack.units if isinstance(unit.runs, SystemdSpec)]
    assert [sorted(unit.holds.ports) for unit in engines] == [[8000], [8001]]


def test_a_host_without_containers_needs_no_docker(make: MakeArtefacts) -> None:
    hosts = [NATIVE | {"name": "gpu1"}, {"name": "web", "address": "10.0.0.8"}]
    artefacts = make(hosts=hosts, router={"host": "web"})
    assert not artefacts.stack.needs_docker("gpu1")
    assert artefacts.images_on("gpu1") == ()
    assert artefacts.stack.needs_docker("web")


def archive_with(path: Path, name: str = "llama-b1/llama-server") -> Path:
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo(name))
    return path


def test_each_version_of_a_program_has_a_place_of_its_own(
    make: MakeArtefacts, tmp_path: Path
) -> None:
    places = set()
    for version in ("b1", "b2"):
        path = archive_with(tmp_path / f"{version}.tar.gz", f"llama-{version}/llama-server")
        program = {"archive": str(path), "version": version}
        unit = engine_of(make(hosts=[NATIVE | {"programs": {"llama-server": program}}]))
        assert unit.program is not None
        assert service_of_unit(unit).command[0] == str(unit.program.path)
        assert service_of_unit(unit).version == f"llama-server {version}"
        places.add(unit.program.path)
    assert len(places) == 2
    assert {place.name for place in places} == {"llama-server"}


def service_of_unit(unit: Unit) -> SystemdSpec:
    assert isinstance(unit.runs, SystemdSpec)
    return unit.runs


def test_an_archive_with_another_digest_is_refused(make: MakeArtefacts, tmp_path: Path) -> None:
    path = archive_with(tmp_path / "a.tar.gz")
    program = {"archive": str(path), "version": "b1", "sha256": "0" * 64}
    with pytest.raises(InventoryFileError, match="has sha256"):
        make(hosts=[NATIVE | {"programs": {"llama-server": program}}])


def test_something_that_is_no_archive_is_refused(make: MakeArtefacts, tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    path.write_text("<html>404</html>")
    program = {"archive": str(path), "version": "b1"}
    with pytest.raises(InventoryFileError, match="is not an archive"):
        make(hosts=[NATIVE | {"programs": {"llama-server": program}}])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"programs": {}}, "hosts[0].programs: no 'llama-server', which llama_cpp needs"),
        ({"address": None}, "hosts[0].address: not set"),
        ({"address": "gpu1.lab"}, "hosts[0].address: 'gpu1.lab' is a name"),
        ({"address": "127.0.0.1"}, "hosts[0].address: 127.0.0.1, which the router's container"),
    ],
)
def test_what_cannot_be(make: MakeArtefacts, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError, match=re.escape(message)):
        make(hosts=[NATIVE | changes])


def test_an_engine_that_needs_a_container(make: MakeArtefacts) -> None:
    with pytest.raises(PlanError, match="'native', but ollama serves tiny-coder"):
        make(hosts=[NATIVE], engine={"kind": "ollama"})


def test_a_container_never_becomes_a_service_by_itself(make: MakeArtefacts) -> None:
    unit = engine_of(make())
    assert (unit.image_name, unit.program, unit.runs.kind) == ("llama-cpp", None, "container")
    with pytest.raises(TypeError):
        _ = engine_of(make(hosts=[NATIVE])).container


# how systemd reads words (systemd.syntax(7), "Quoting"), written down once more
ESCAPES = {"n": "\n", "\\": "\\", '"': '"'}


def read_words(line: str) -> list[str]:
    """The words of a command line as systemd takes them apart."""
    words: list[str] = []
    word, at, in_quotes, has_begun = "", 0, False, False
    while at < len(line):
        character = line[at]
        if character == "\\":
            at += 1
            word += ESCAPES[line[at]]
        elif character == '"':
            in_quotes, has_begun = not in_quotes, True
        elif character == " " and not in_quotes:
            words, word, has_begun = [*words, word], "", False
        else:
            word += character
        at += 1
    assert not in_quotes
    return [*words, word] if word or has_begun else words


texts = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], include_characters="\n"),
    max_size=12,
)


@given(st.lists(texts.filter(bool), min_size=1, max_size=4))
def test_words_are_read_back(words: list[str]) -> None:
    line = " ".join(command_word(word) for word in words)
    assert "\n" not in line
    assert re.sub(r"%%|\$\$", "", line).count("%") == 0
    assert re.sub(r"%%|\$\$", "", line).count("$") == 0
    assert [w.replace("%%", "%").replace("$$", "$") for w in read_words(line)] == words


@given(texts)
def test_variables_are_read_back(value: str) -> None:
    [word] = read_words(specifiers(quoted(f"NAME={value}")))
    assert word.replace("%%", "%") == f"NAME={value}"


@given(texts.filter(lambda text: "\n" not in text))
def test_secrets_are_read_back_by_the_shells_rules(value: str) -> None:
    """systemd reads environment files as a shell reads what stands in double quotes."""
    inner = secret_value(value)[1:-1]
    assert re.sub(r'\\(["\\`$])', r"\1", inner) == value
    assert not re.search(r'(?<!\\)(\\\\)*["`$]', inner)


def test_the_unit_file_follows_from_every_field(make: MakeArtefacts) -> None:
    """A field that is not in it would be in the description alone, and change nothing."""
    artefacts = make(hosts=[NATIVE])
    runs, digest = service_of(artefacts), artefacts.secrets.digest
    marks = Marks("demo", "{}")
    before = runs.unit_file(marks, digest).split("[X-Atelier]")[0]
    # its memory is written to no disk when it crashes
    assert "\nLimitCORE=0\n" in before
    changes: dict[str, Any] = {
        "command": ("/bin/x",),
        "env": {"A": "1"},
        "user": "llama",
        "memory_bytes": 1,
        "tasks_max": 1,
        "open_files": 1,
        "restart_seconds": 9,
        "stop_timeout_seconds": 9,
        "read_write_paths": ("/srv/x",),
    }
    for name, value in changes.items():
        changed = runs.model_copy(update={name: value}).unit_file(marks, digest)
        assert changed.split("[X-Atelier]")[0] != before, name


def test_the_plan_says_so(make: MakeArtefacts) -> None:
    plan = make(hosts=[NATIVE]).plan
    text = "\n".join(line.plain for line in plan_text(plan))
    assert "tiny-coder #0: up to 2 GiB of the machine's memory, without a container" in text
    assert plan_to_json(plan)["hosts"][0]["engines"] == "native"
