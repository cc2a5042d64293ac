"""All other operations: commands where something differs, none where nothing does."""

from __future__ import annotations

import base64
import hashlib
import io
import shlex
import stat
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any

import pytest
from pyinfra.api import OperationError
from pyinfra.api.command import FunctionCommand
from pyinfra.connectors.ssh import SSHConnector
from pyinfra.connectors.sshuserclient import SSHClient

from deploy.artefacts import Artefacts
from deploy.facts.component import FileState
from deploy.facts.deployment import Belongings
from deploy.facts.deployment import Deployment as DeploymentFact
from deploy.facts.docker import Docker
from deploy.facts.engine import Resources
from deploy.facts.files import FileSize
from deploy.facts.host import Host
from deploy.facts.images import Images, ImagesState
from deploy.facts.old_images import BroughtImage, OldImages
from deploy.hosts.checks import Subject
from deploy.hosts.state import DockerState, HostState
from deploy.images import ImageArchive, ImageUse, RegistryAccess
from deploy.live.connection import Login
from deploy.local_file import LocalFile
from deploy.operations import (
    barrier,
    deployment,
    file_tree,
    image,
    model_file,
    old_image,
    orphan,
    precheck,
    resource,
    secret_file,
    verified,
)
from deploy.operations.copy import CopyCommand
from deploy.operations.image_source import ImagePlace, LoadCommand
from deploy.operations.script import ScriptCommand
from deploy.secrets import SecretStore
from deploy.services import ConfigFile, ConfigTree
from tests.conftest import MakeArtefacts
from tests.operations.harness import Facts, FakeHost, Outcome, run

Announced = Callable[[], list[Any]]
GIB = 1024**3


def rows(announced: Announced) -> list[tuple[str, str]]:
    return [(row["action"], row["resource"]) for row in announced()]


# images

HERE = ImagePlace(PurePosixPath("/var/lib/atelier/deployments/demo"), is_local=True)
OVER_SSH = replace(HERE, is_local=False)


def provide(
    found: dict[str, str],
    uses: list[ImageUse],
    place: ImagePlace = HERE,
    registries: dict[str, RegistryAccess] | None = None,
    **more: Any,
) -> Outcome:
    facts: Facts = {Images: ImagesState(ids=found, **more)}
    secrets = SecretStore(Path("none.yaml"), {})
    return run(
        *(image.present, facts),
        uses=uses,
        place=place,
        registries=registries or {},
        secrets=secrets,
    )


def arguments_of(command: Any) -> list[str]:
    """The arguments of one of Atelier's scripts."""
    words = shlex.split(command.get_raw_value())
    return words[words.index("atelier") + 1 :]


def test_images_that_are_there_are_left_alone(demo: Artefacts, announced: Announced) -> None:
    uses = list(demo.images.values())
    found = {use.image.reference: "sha256:1" for use in uses}
    assert provide(found, uses).commands == []
    assert announced() == []


def test_a_missing_image_is_pulled(demo: Artefacts, announced: Announced) -> None:
    first, *others = demo.images.values()
    found = {use.image.reference: "sha256:1" for use in others}
    outcome = provide(found, [first, *others])
    [command] = outcome.commands
    assert arguments_of(command) == ["pull", HERE.record, first.image.reference]
    assert outcome.stdin == [""]
    assert rows(announced) == [("pull", f"image {first.image.reference}")]


def test_missing_images_are_built_together(make: MakeArtefacts, announced: Announced) -> None:
    uses = list(make(image_source="build").images.values())
    command, record = provide({}, [use for use in uses if use.build]).commands
    uses = [use for use in uses if use.build]
    assert isinstance(command, FunctionCommand)
    assert command.args == ([use.build for use in uses],)
    assert arguments_of(record) == ["record", HERE.record, *(use.image.reference for use in uses)]
    assert rows(announced) == [("build", f"image {use.image.reference}") for use in uses]


@pytest.mark.parametrize("was_built", [False, True])
def test_what_is_built_here_is_copied_to_hosts_over_ssh(
    make: MakeArtefacts, announced: Announced, monkeypatch: pytest.MonkeyPatch, was_built: bool
) -> None:
    monkeypatch.setattr(image, "engine_problem", lambda: "")
    monkeypatch.setattr(image, "was_built", lambda _: was_built)
    first, *others = make(image_source="build").images.values()
    found = {use.image.reference: "sha256:1" for use in others}
    [command] = provide(found, [first, *others], OVER_SSH).commands
    assert isinstance(command, LoadCommand)
    assert command.reference == first.image.reference
    actions = ["copy"] if was_built else ["build", "copy"]
    assert rows(announced) == [(action, f"image {first.image.reference}") for action in actions]
    # this machine's engine is not asked where nothing is missing
    monkeypatch.setattr(image, "engine_problem", lambda: "broken")
    everything = found | {first.image.reference: "sha256:1"}
    assert provide(everything, [first, *others], OVER_SSH).commands == []


def test_without_an_engine_here_nothing_is_built(
    make: MakeArtefacts, announced: Announced, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image, "engine_problem", lambda: "docker is not installed")
    uses = list(make(image_source="build").images.values())
    with pytest.raises(OperationError) as refused:
        provide({}, uses, OVER_SSH)
    assert str(refused.value) == (
        "image_source: images are built on this machine, but its container engine cannot be used: "
        "docker is not installed\n"
        "    allowed: 'pull', 'load', or 'build' where Docker runs on this machine\n"
        "    fix: install and start Docker here, pull the images, or load them from archives"
    )
    assert announced() == []


CA = RegistryAccess("registry.lab:5000", login='{"auths": "leaked"}', ca="certificates\n")
MIRRORED = {"registry_mirror": "registry.lab:5000"}


def test_a_login_travels_on_standard_input_to_its_own_registry(make: MakeArtefacts) -> None:
    own = {"litellm": {"reference": "other.lab/litellm:v1"}}
    images = make(**MIRRORED, images=own).images
    uses = [images["litellm"], images["llama-cpp"]]
    outcome = provide({}, uses, registries={CA.address: replace(CA, ca="")})
    assert outcome.stdin == ["", CA.login]
    assert "leaked" not in outcome.shown


def test_certificates_are_state(make: MakeArtefacts, announced: Announced) -> None:
    uses = list(make(**MIRRORED).images.values())
    found = {use.image.reference: "sha256:1" for use in uses}
    path = "/etc/docker/certs.d/registry.lab:5000/ca.crt"
    right = hashlib.sha256(b"certificates\n").hexdigest()
    registries = {CA.address: CA}
    outcome = provide(found, uses, registries=registries)
    assert (len(outcome.commands), outcome.stdin) == (1, [CA.ca])
    assert len(provide(found, uses, registries=registries, digests={path: "x"}).commands) == 1
    assert provide(found, uses, registries=registries, digests={path: right}).commands == []
    assert rows(announced) == [("create", f"file {path}"), ("update", f"file {path}")]


def test_an_archive_is_loaded_where_the_image_is_another(
    demo: Artefacts, announced: Announced
) -> None:
    image_of = demo.images["litellm"].image
    archive = ImageArchive(
        LocalFile(Path("/x.tar"), 1, "digest"), 1, {image_of.reference: ["sha256:1"]}
    )
    uses = [ImageUse(image_of, None, "load", archive)]
    for found, loaded, count in [
        ({}, (), 1),
        ({image_of.reference: "sha256:2"}, (), 1),
        ({image_of.reference: "sha256:1"}, (), 0),
        # an engine that gives images ids of its own
        ({image_of.reference: "sha256:2"}, (("sha256:2", "digest"),), 0),
        ({image_of.reference: "sha256:2"}, (("sha256:2", "another"),), 1),
    ]:
        outcome = provide(found, uses, OVER_SSH, loaded=frozenset(loaded))
        assert len(outcome.commands) == count
    assert set(rows(announced)) == {("load", f"image {image_of.reference}")}


def test_old_images_are_removed_and_nothing_else(announced: Announced) -> None:
    def brought(reference: str, id_: str, *tags: str, used: bool = False) -> BroughtImage:
        return BroughtImage(reference, id_, 5_000_000, tags, used)

    found = (
        brought("atelier/litellm:2", "sha256:now", "atelier/litellm:2"),
        brought("atelier/litellm:1", "sha256:old", "atelier/litellm:1"),
        brought("atelier/litellm:0", "sha256:running", "atelier/litellm:0", used=True),
        # its name moved on when the archive was made anew
        brought("docker.io/lab/engine:1", "sha256:before"),
        brought("docker.io/lab/engine:1", "sha256:after", "lab/engine:1"),
        brought("pinned@sha256:1", "sha256:pinned"),
    )
    wanted = ["atelier/litellm:2", "docker.io/lab/engine:1", "pinned@sha256:1"]
    outcome = run(old_image.removed, {OldImages: found}, wanted=wanted, place=HERE)
    [command] = outcome.commands
    assert arguments_of(command) == [
        *("remove", HERE.record, "atelier/litellm:1", "sha256:old"),
        *("docker.io/lab/engine:1", "sha256:before"),
    ]
    assert rows(announced) == [
        ("remove", "image atelier/litellm:1"),
        ("remove", "image docker.io/lab/engine:1"),
    ]
    assert run(old_image.removed, {OldImages: found[:1]}, wanted=wanted, place=HERE).commands == []


# networks and volumes


SHARED: dict[str, Any] = {"network": "net", "volumes": ["data"], "deployment": "lab"}
OWN = {
    "network net": {"io.atelier.deployment": "lab"},
    "volume data": {"io.atelier.deployment": "lab"},
}


def test_missing_network_and_volumes(announced: Announced) -> None:
    outcome = run(resource.present, {Resources: {}}, **SHARED)
    assert outcome.shell == [
        "docker network create --label io.atelier.deployment=lab net",
        "docker volume create --label io.atelier.deployment=lab data",
    ]
    assert rows(announced) == [("create", "network net"), ("create", "volume data")]


@pytest.mark.parametrize("missing", ["network net", "volume data"])
def test_only_what_is_missing_is_created(missing: str, announced: Announced) -> None:
    found = {name: labels for name, labels in OWN.items() if name != missing}
    outcome = run(resource.present, {Resources: found}, **SHARED)
    kind, name = missing.split()
    assert outcome.shell == [f"docker {kind} create --label io.atelier.deployment=lab {name}"]
    assert rows(announced) == [("create", missing)]


def test_network_and_volumes_that_are_there(announced: Announced) -> None:
    assert run(resource.present, {Resources: OWN}, **SHARED).commands == []
    assert announced() == []


@pytest.mark.parametrize("name", ["network net", "volume data"])
@pytest.mark.parametrize(
    ("labels", "whose"),
    [({}, "somebody else"), ({"io.atelier.deployment": "x"}, "deployment 'x'")],
)
def test_somebody_elses_network_or_volume(name: str, labels: dict[str, str], whose: str) -> None:
    with pytest.raises(OperationError, match=f"^{name} belongs to {whose}: "):
        run(resource.present, {Resources: OWN | {name: labels}}, **SHARED)


# model files


def test_a_model_file_is_copied(demo: Artefacts, announced: Announced) -> None:
    file = demo.stack.components[0].model_file
    assert file is not None
    [command] = run(model_file.present, {FileSize: None}, file=file).commands
    assert isinstance(command, CopyCommand)
    assert (command.file, command.path) == (file.source, file.path)
    assert rows(announced) == [("copy", f"model file {file.path}")]


def test_half_a_model_file_is_copied_again(demo: Artefacts) -> None:
    file = demo.stack.components[0].model_file
    assert file is not None
    assert len(run(model_file.present, {FileSize: 17}, file=file).commands) == 1
    size = file.source.path.stat().st_size
    assert run(model_file.present, {FileSize: size}, file=file).commands == []


# configuration files


def test_a_release_is_unpacked_whole(tmp_path: Path) -> None:
    root = tmp_path / "it's config"
    tree = ConfigTree(
        root=PurePosixPath(root),
        files={"a.yaml": ConfigFile(content="é\n"), "key": ConfigFile(content="k", mode=0o600)},
    )
    [command] = file_tree.write(tree)
    for _ in range(2):  # also over what is there already
        stdin = str(command.connector_arguments["_stdin"])
        subprocess.run(["sh", "-c", command.get_raw_value()], input=stdin, text=True, check=True)  # type: ignore[attr-defined]
    [release] = root.iterdir()
    assert release.name == tree.release
    assert (release / "a.yaml").read_text() == "é\n"
    assert stat.S_IMODE((release / "key").stat().st_mode) == 0o600


def test_a_release_is_written_with_its_modes_and_contents_and_nothing_else() -> None:
    tree = ConfigTree(root=PurePosixPath("/x"), files={"key": ConfigFile(content="k", mode=0o600)})
    # printf k | sha256sum
    digest = "8254c329a92850f6d539dd376f4816ee2764517da5e0235514af433164480d7a"
    good = {"key": FileState(0o600, digest)}
    assert file_tree.is_written(tree, {tree.release: good})
    for found in ({}, {"key": FileState(0o644, digest)}, good | {"more": FileState(0o600, digest)}):
        assert not file_tree.is_written(tree, {tree.release: found})
    assert not file_tree.is_written(tree, {})


def test_an_archive_is_the_same_whenever_the_files_are() -> None:
    tree = ConfigTree(root=PurePosixPath("/x"), files={"b": ConfigFile(content="1")})
    [command] = file_tree.write(tree)
    data = base64.b64decode(str(command.connector_arguments["_stdin"]))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        [member] = archive.getmembers()
    assert (member.name, member.mode, member.uid, member.mtime) == ("b", 0o644, 0, 0)


# orphans and the whole deployment

DIRECTORY = PurePosixPath("/var/lib/atelier/deployments/demo")
BELONGINGS = Belongings(
    containers=("demo-litellm-0", "demo-old-0"),
    networks=("demo",),
    volumes=("demo-open-webui",),
    releases=(f"{DIRECTORY}/config/litellm/new", f"{DIRECTORY}/config/litellm/old"),
    directory=(str(DIRECTORY),),
)
KEPT: dict[str, Any] = {
    "deployment": "demo",
    "directory": DIRECTORY,
    "containers": ["demo-litellm-0"],
    "releases": [f"{DIRECTORY}/config/litellm/new"],
    "models": {"demo-ollama-a-0": "a:q8"},
}


def test_orphans_are_removed(announced: Announced) -> None:
    outcome = run(orphan.removed, {DeploymentFact: BELONGINGS}, **KEPT)
    old = f"{DIRECTORY}/config/litellm/old"
    assert outcome.shell == ["docker container rm --force demo-old-0", f"rm -rf {old}"]
    assert rows(announced) == [
        ("remove", "container demo-old-0"),
        ("remove", f"configuration {old}"),
    ]


@pytest.mark.parametrize("name", ["demo-litellm-0.next", "demo-litellm-0.previous"])
def test_what_a_change_left_is_not_an_orphan(name: str, announced: Announced) -> None:
    """The container operation sees to it, and announces it."""
    found = replace(BELONGINGS, containers=("demo-litellm-0", name), releases=())
    assert run(orphan.removed, {DeploymentFact: found}, **KEPT).commands == []
    assert announced() == []


def test_models_that_are_no_longer_declared_go(announced: Announced) -> None:
    """Those of a kept container but the wanted one, and of a container that goes, all of them."""
    found = replace(
        BELONGINGS,
        containers=("demo-litellm-0", "demo-ollama-a-0", "demo-ollama-b-0"),
        releases=(),
        models=(
            *("demo-ollama-a-0 a:q4", "demo-ollama-a-0 a:q8", "demo-ollama-b-0 b:latest"),
            "demo-ollama-a-0.previous a:q8",
        ),
    )
    kept = KEPT | {"containers": ["demo-litellm-0", "demo-ollama-a-0"]}
    outcome = run(orphan.removed, {DeploymentFact: found}, **kept)
    assert rows(announced) == [
        ("remove", "model a:q4 in demo-ollama-a-0"),
        ("remove", "model b:latest in demo-ollama-b-0"),
        ("remove", "container demo-ollama-b-0"),
    ]
    assert [command.split()[-4:] for command in outcome.shell[:2]] == [
        ["atelier", "remove", "demo-ollama-a-0", "a:q4"],
        ["atelier", "remove", "demo-ollama-b-0", "b:latest"],
    ]


@pytest.mark.parametrize("volumes", [False, True])
def test_a_deployment_is_removed(volumes: bool, announced: Announced) -> None:
    outcome = run(
        deployment.absent,
        {DeploymentFact: BELONGINGS},
        deployment="demo",
        directory=DIRECTORY,
        volumes=volumes,
    )
    of_volume = ["docker volume rm demo-open-webui"] if volumes else []
    assert outcome.shell == [
        "docker container rm --force demo-litellm-0 demo-old-0",
        "docker network rm demo",
        *of_volume,
        f"rm -rf {DIRECTORY}",
    ]
    assert (("remove", "volume demo-open-webui") in rows(announced)) is volumes
    assert len(announced()) == 4 + volumes


def test_nothing_is_removed_where_nothing_is(announced: Announced) -> None:
    arguments: dict[str, Any] = {
        "deployment": "demo",
        "directory": DIRECTORY,
        "volumes": True,
    }
    with pytest.raises(OperationError, match=r"^Docker does not answer"):
        run(
            deployment.absent,
            {DeploymentFact: Belongings(unanswering_engine=("yes",))},
            **arguments,
        )

    outcome = run(deployment.absent, {DeploymentFact: Belongings()}, **arguments)
    assert outcome.commands == []
    assert announced() == []


# prechecks

GOOD_HOST = HostState("24.0.5", "", 64 * GIB, 100 * GIB, frozenset({22}), frozenset())


@pytest.mark.parametrize(
    "differences",
    [
        {},
        {"engine_version": "20.10.24+dfsg1"},
        # our own containers hold the ports
        {"listening_ports": frozenset({3000, 4000}), "own_ports": frozenset({3000, 4000})},
    ],
)
def test_a_good_host_passes(demo: Artefacts, differences: dict[str, Any]) -> None:
    facts: Facts = {Host: replace(GOOD_HOST, **differences)}
    subject = Subject(demo.host("@local"), demo.stack.on("@local"))
    assert run(precheck.passed, facts, deployment="demo", subject=subject).commands == []


@pytest.mark.parametrize(
    ("differences", "message"),
    [
        (
            {"engine_version": None, "engine_error": "permission denied"},
            "container engine: permission denied\n"
            "    allowed: Docker 20.10 or newer that this user may use\n"
            "    fix: install and start Docker, or declare sudo=True for the host",
        ),
        (
            {"engine_version": "19.03.15"},
            "container engine: Docker 19.03.15\n    allowed: 20.10 or newer\n    fix: upgrade it",
        ),
        (
            {"listening_ports": frozenset({4000}), "own_ports": frozenset({3000})},
            "router.port: port 4000 is in use by another program\n"
            "    allowed: a free port\n"
            "    fix: stop that program, or declare another port for router",
        ),
        (
            {"memory_bytes": 4 * GIB},
            "memory: the containers may use 6.0 GiB of 4.0 GiB\n"
            "    allowed: memory limits that fit into the machine\n"
            "    fix: lower memory_limit of engine, router or web_ui",
        ),
        (
            {"disk_free_bytes": GIB},
            "disk: 1.0 GiB free where images are kept\n"
            "    allowed: at least 2.0 GiB\n"
            "    fix: free some, e.g. docker system prune",
        ),
    ],
)
def test_a_bad_host_is_refused(demo: Artefacts, differences: dict[str, Any], message: str) -> None:
    # a Docker that this user may not use
    docker = DockerState(is_installed=True)
    facts: Facts = {Host: replace(GOOD_HOST, **differences), Docker: docker}
    subject = Subject(demo.host("@local"), demo.stack.on("@local"))
    with pytest.raises(OperationError) as refused:
        run(precheck.passed, facts, deployment="demo", subject=subject)
    assert str(refused.value) == f"h1 cannot be deployed to\n{message}"


# the file of secrets, the barrier, the verification


def test_generated_secrets_are_kept_when_executed(tmp_path: Path, announced: Announced) -> None:
    store = SecretStore(tmp_path / ".secrets" / "demo.yaml", {})
    [command] = run(secret_file.kept, {}, secrets=store).commands
    assert isinstance(command, FunctionCommand)
    [(action, resource)] = rows(announced)
    assert (action.split()[0], resource) == ("generate", f"secrets {store.path}")
    assert not store.path.exists()
    assert command.function(None, None, *command.args) is True
    assert store.path.exists()
    assert run(secret_file.kept, {}, secrets=store).commands == []


def test_a_barrier_does_nothing() -> None:
    assert run(barrier.reached, {}).commands == []


def test_verification_asks_nothing_in_a_dry_run(
    demo: Artefacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(_: Artefacts) -> Any:
        raise AssertionError

    monkeypatch.setattr("deploy.live.verify.verify", ask)
    assert run(verified.answers, {}, artefacts=demo).commands == []


@pytest.mark.parametrize("ok", [True, False])
def test_verification_fails_with_what_does_not_answer(
    demo: Artefacts, monkeypatch: pytest.MonkeyPatch, ok: bool
) -> None:
    check = SimpleNamespace(name="router", ok=ok, seconds=1.0, detail="said x")
    monkeypatch.setattr("deploy.live.verify.verify", lambda *_: iter([check]))
    outcome = run(verified.answers, {}, executing=True, artefacts=demo)
    assert "said x" in outcome.host.said[0]
    messages = [command.args for command in outcome.commands]  # type: ignore[attr-defined]
    assert messages == ([] if ok else [("deployed, but not working: router",)])


@pytest.mark.parametrize("password", [False, True])
def test_verification_uses_the_connections_that_are_open(
    demo: Artefacts, monkeypatch: pytest.MonkeyPatch, password: bool
) -> None:
    ssh = SSHConnector.__new__(SSHConnector)
    ssh.client = SSHClient()
    data: dict[str, object] = {"prompted_sudo_password": "x"} if password else {}
    host = FakeHost({}, connector=ssh, connector_data=data)
    used: list[dict[str, Login]] = []

    def verify(_: Artefacts, logins: dict[str, Login]) -> Iterator[Any]:
        used.append(logins)
        return iter(())

    monkeypatch.setattr("deploy.live.verify.verify", verify)
    run(verified.answers, host, executing=True, artefacts=demo)
    assert used == [{"h1": Login(ssh.client, password)}]


# the script command


class ScriptHost:
    """A host on which every command says the same."""

    print_prefix = ""

    def __init__(self, *said: str) -> None:
        self.said = said
        self.given: dict[str, Any] = {}

    def run_shell_command(self, _: Any, **arguments: Any) -> tuple[bool, list[Any]]:
        """Answer."""
        self.given = arguments
        return False, [SimpleNamespace(line=line) for line in self.said]


def test_a_scripts_output_is_redacted_before_anybody_sees_it(
    demo: Artefacts, capsys: pytest.CaptureFixture[str]
) -> None:
    host = ScriptHost("key sk-leaked-engine-api refused")
    command = ScriptCommand("container.sh", "x", stdin="A=b", redact=demo.secrets.redact)
    state = SimpleNamespace(print_input=False, print_output=True)
    succeeded, output = command.execute(state, host, {})  # type: ignore[arg-type]
    assert not succeeded
    assert [line.line for line in output] == ["key <engine_api_key> refused"]
    assert host.given["_stdin"] == "A=b"
    assert host.given["print_output"] is False
