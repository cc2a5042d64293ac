"""All other operations: commands where something differs, none where nothing does."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import shlex
import stat
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from pyinfra.api import OperationError
from pyinfra.api.command import FunctionCommand
from pyinfra.connectors.ssh import SSHConnector
from pyinfra.connectors.sshuserclient import SSHClient

from deploy.artefacts import Artefacts
from deploy.facts import look
from deploy.facts.deployment import Belongings
from deploy.facts.deployment import Deployment as DeploymentFact
from deploy.facts.docker import Docker
from deploy.facts.engine import Resources
from deploy.facts.files import PathState, PathStates
from deploy.facts.health import Health
from deploy.facts.host import Host
from deploy.facts.images import Images, ImagesState
from deploy.facts.old_images import BroughtImage, OldImages
from deploy.facts.units import FileState, Units, UnitsState
from deploy.hosts.state import DockerState, FileSystem, HostState
from deploy.hosts.subject import Subject
from deploy.images import ImageArchive, ImageUse, RegistryAccess
from deploy.live.checks import Check
from deploy.live.login import Login
from deploy.local_file import LocalFile
from deploy.model_files import ModelFile
from deploy.operations import (
    barrier,
    deployment,
    file_tree,
    image,
    model_file,
    old_image,
    precheck,
    resource,
    secret_file,
    units,
    verified,
)
from deploy.operations.copy import CopyCommand
from deploy.operations.image_source import ImagePlace, LoadCommand
from deploy.operations.known_secrets import KNOWN
from deploy.operations.questions import host_question
from deploy.operations.script import ScriptCommand
from deploy.secrets import SecretStore
from deploy.secrets.fingerprint import KnownSecrets
from deploy.services import ConfigFile, ConfigTree, HostModelFile, Tier, haproxy_watch
from deploy.spec import SecretName, SecretText
from tests.conftest import MakeArtefacts
from tests.operations.found import live
from tests.operations.harness import Facts, FakeHost, Outcome, run, words
from tests.recognisable import LEAK, SECRETS, write_secrets

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


def test_missing_images_are_built_together(
    make: MakeArtefacts, announced: Announced, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the deployment may bring Docker first
    monkeypatch.setattr(image, "engine_problem", lambda: "docker is not installed")
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


@pytest.mark.parametrize(
    ("place", "problem"),
    [(OVER_SSH, "docker is not installed"), (HERE, "permission denied while trying to connect")],
)
def test_without_an_engine_here_nothing_is_built(
    make: MakeArtefacts,
    announced: Announced,
    monkeypatch: pytest.MonkeyPatch,
    place: ImagePlace,
    problem: str,
) -> None:
    monkeypatch.setattr(image, "engine_problem", lambda: problem)
    uses = list(make(image_source="build").images.values())
    with pytest.raises(OperationError) as refused:
        provide({}, uses, place)
    assert str(refused.value) == (
        "image_source: images are built on this machine, but its Docker cannot be used: "
        f"{problem}\n"
        "    allowed: 'pull', 'load', or 'build' where Docker runs on this machine\n"
        "    fix: install and start Docker here, put this user into the group docker, pull the "
        "images, or load them from archives"
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
OWN = {"network net": "lab", "volume data": "lab"}


def test_missing_network_and_volumes(announced: Announced) -> None:
    outcome = run(resource.present, {Resources: {}}, **SHARED)
    network, volume = outcome.shell
    assert "docker network create --label io.atelier.deployment=lab net" in network
    assert volume == "docker volume create --label io.atelier.deployment=lab data"
    assert rows(announced) == [("create", "network net"), ("create", "volume data")]


@pytest.mark.parametrize("missing", ["network net", "volume data"])
def test_only_what_is_missing_is_created(missing: str, announced: Announced) -> None:
    found = {name: owner for name, owner in OWN.items() if name != missing}
    outcome = run(resource.present, {Resources: found}, **SHARED)
    kind, name = missing.split()
    [command] = outcome.shell
    assert f"docker {kind} create --label io.atelier.deployment=lab {name}" in command
    assert rows(announced) == [("create", missing)]


@pytest.mark.parametrize("there", [1, 2])
def test_a_network_that_another_run_created_too_is_taken_back(tmp_path: Path, there: int) -> None:
    docker = tmp_path / "docker"
    docker.write_text(
        f'#!/bin/sh\necho "$*" >>{tmp_path}/calls\n'
        f'case "$2" in create) echo own;; ls) seq {there};; esac\n'
    )
    docker.chmod(0o755)
    [command] = run(resource.present, {Resources: {}}, **SHARED | {"volumes": []}).shell
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    finished = subprocess.run(["sh", "-c", command], env=environment, capture_output=True)
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[0] == "network create --label io.atelier.deployment=lab net"
    assert calls[1] == "network ls --quiet --filter name=^net$"
    assert calls[2:] == (["network rm own"] if there > 1 else [])
    assert finished.returncode == (1 if there > 1 else 0)


def test_network_and_volumes_that_are_there(announced: Announced) -> None:
    assert run(resource.present, {Resources: OWN}, **SHARED).commands == []
    assert announced() == []


@pytest.mark.parametrize("name", ["network net", "volume data"])
@pytest.mark.parametrize(
    ("owner", "whose"),
    [("", "somebody else"), ("x", "deployment 'x'")],
)
def test_somebody_elses_network_or_volume(name: str, owner: str, whose: str) -> None:
    with pytest.raises(OperationError, match=f"^{name} belongs to {whose}: "):
        run(resource.present, {Resources: OWN | {name: owner}}, **SHARED)


# model files


def test_a_model_file_is_copied(demo: Artefacts, announced: Announced) -> None:
    file = demo.stack.units[0].model_file
    assert file is not None
    [command] = run(model_file.present, {PathStates: {}}, file=file).commands
    assert isinstance(command, CopyCommand)
    assert (command.file.path, command.path) == (file.source.path, file.path)
    assert rows(announced) == [("copy", f"model file {file.path}")]


def test_half_a_model_file_is_copied_again(demo: Artefacts) -> None:
    file = demo.stack.units[0].model_file
    assert file is not None
    directory = {str(file.path.parent): PathState(4096, 0o755)}
    half = directory | {str(file.path): PathState(17, 0o644)}
    assert len(run(model_file.present, {PathStates: half}, file=file).commands) == 1
    whole = directory | {str(file.path): PathState(file.source.path.stat().st_size, 0o644)}
    assert run(model_file.present, {PathStates: whole}, file=file).commands == []


def test_a_model_file_is_made_readable(demo: Artefacts, announced: Announced) -> None:
    """What was copied under umask 077 is of no use to the user in a container."""
    file = demo.stack.units[0].model_file
    assert file is not None
    directory, path = str(file.path.parent), str(file.path)
    found = {
        directory: PathState(4096, 0o700),
        path: PathState(file.source.path.stat().st_size, 0o600),
    }
    outcome = run(model_file.present, {PathStates: found}, file=file)
    assert outcome.shell == [f"chmod a+rX {directory} {path}"]
    assert rows(announced) == [
        ("update", f"directory {directory}"),
        ("update", f"model file {path}"),
    ]


def test_every_part_of_a_model_is_copied(tmp_path: Path, announced: Announced) -> None:
    parts = tuple(LocalFile(tmp_path / f"m-{n}-of-00003.gguf", n, "0" * 64) for n in (1, 2, 3))
    first = PurePosixPath("/srv/models/0123/m-1-of-00003.gguf")
    file = HostModelFile(source=ModelFile(parts), path=first)
    there = {
        str(first.parent): PathState(4096, 0o755),
        str(first.with_name("m-2-of-00003.gguf")): PathState(2, 0o644),
    }
    copied = run(model_file.present, {PathStates: there}, file=file).commands
    assert [(c.file, c.path.name) for c in copied if isinstance(c, CopyCommand)] == [
        (parts[0], "m-1-of-00003.gguf"),
        (parts[2], "m-3-of-00003.gguf"),
    ]
    assert [resource[-len("m-1-of-00003.gguf") :] for _, resource in rows(announced)] == [
        "m-1-of-00003.gguf",
        "m-3-of-00003.gguf",
    ]


# configuration files

NO_SECRETS = SecretStore(Path("none.yaml"), {})


def test_a_release_is_unpacked_whole(tmp_path: Path) -> None:
    root = tmp_path / "it's config"
    tree = ConfigTree(
        root=PurePosixPath(root),
        files={"a.yaml": ConfigFile(content="é\n"), "key": ConfigFile(content="k", mode=0o600)},
    )
    [command] = file_tree.write(tree, NO_SECRETS)
    for _ in range(2):  # also over what is there already
        stdin = str(command.connector_arguments["_stdin"])
        shell = f"umask 077; {command.get_raw_value()}"  # type: ignore[attr-defined]
        subprocess.run(["sh", "-c", shell], input=stdin, text=True, check=True)
    [release] = root.iterdir()
    assert release.name == tree.release
    assert (release / "a.yaml").read_text() == "é\n"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in release.iterdir()}
    assert modes == {"a.yaml": 0o644, "key": 0o600}
    assert stat.S_IMODE(release.stat().st_mode) == 0o755


@pytest.mark.parametrize(
    ("check", "wait", "found", "said"),
    [
        (["grep", "new", "{root}/.new/a"], ["grep", "new", "{root}/current/a"], "new", ""),
        (["false"], ["true"], "old", "the new files would be refused, so those before them stay"),
        (["true"], ["false"], "new", "the new files are there, but were not read"),
    ],
)
def test_what_reads_its_files_again_is_asked_before_and_after(
    tmp_path: Path, check: list[str], wait: list[str], found: str, said: str
) -> None:
    (tmp_path / "current").mkdir()
    (tmp_path / "current" / "a").write_text("old")
    root = PurePosixPath(tmp_path)
    watch = haproxy_watch.watch(root)
    tree = ConfigTree(root=root, files={"a": ConfigFile(content="new")}, watch=watch)
    asked = [[word.format(root=root) for word in command] for command in (check, wait)]
    [command] = file_tree.write(tree, NO_SECRETS, *asked)
    stdin = str(command.connector_arguments["_stdin"])
    shell = command.get_raw_value()  # type: ignore[attr-defined]
    done = subprocess.run(["sh", "-c", shell], input=stdin, text=True, capture_output=True)
    assert (done.returncode == 0, done.stderr.strip().endswith(said)) == (not said, True)
    assert [path.name for path in tmp_path.iterdir()] == ["current"]
    assert (tmp_path / "current" / "a").read_text() == found


def test_a_release_is_written_with_its_modes_and_contents_and_nothing_else() -> None:
    tree = ConfigTree(root=PurePosixPath("/x"), files={"key": ConfigFile(content="k", mode=0o600)})
    release = str(tree.directory)
    # printf k | sha256sum
    digest = "8254c329a92850f6d539dd376f4816ee2764517da5e0235514af433164480d7a"
    good = {"key": FileState(0o600, digest)}
    assert file_tree.is_written(tree, {release: good}, NO_SECRETS)
    for found in ({}, {"key": FileState(0o644, digest)}, good | {"more": FileState(0o600, digest)}):
        assert not file_tree.is_written(tree, {release: found}, NO_SECRETS)
    assert not file_tree.is_written(tree, {}, NO_SECRETS)


def test_an_archive_is_the_same_whenever_the_files_are() -> None:
    tree = ConfigTree(root=PurePosixPath("/x"), files={"b": ConfigFile(content="1")})
    [command] = file_tree.write(tree, NO_SECRETS)
    data = base64.b64decode(str(command.connector_arguments["_stdin"]))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        [member] = archive.getmembers()
    assert (member.name, member.mode, member.uid, member.mtime) == ("b", 0o644, 0, 0)


def test_a_secret_file_is_written_with_its_value_and_never_shown(tmp_path: Path) -> None:
    write_secrets(tmp_path / "secrets.yaml")
    secrets = SecretStore(tmp_path / "secrets.yaml", {})
    text = SecretText(template="key: {key}\n", secrets={"key": "engine_api_key"})
    file = ConfigFile(content=text, mode=0o600)
    tree = ConfigTree(root=PurePosixPath(tmp_path / "config"), files={"nested/key": file})
    found: list[Any] = []

    def body() -> Iterator[Any]:
        found.extend(file_tree.changes(tree, {}, None, secrets))
        yield from file_tree.write(tree, secrets)

    outcome = run(SimpleNamespace(_inner=body), {})
    assert LEAK not in outcome.shown + str(found)
    subprocess.run(["sh", "-c", outcome.shell[0]], input=outcome.stdin[0], text=True, check=True)
    written = Path(tree.directory) / "nested" / "key"
    assert written.read_text() == f"key: {SECRETS[SecretName.ENGINE_API_KEY]}\n"
    digest = hashlib.sha256(written.read_bytes()).hexdigest()
    there = {str(tree.directory): {"nested/key": FileState(0o600, digest)}}
    assert file_tree.is_written(tree, there, secrets)


# orphans and the whole deployment

DIRECTORY = PurePosixPath("/var/lib/atelier/deployments/demo")
BELONGINGS = Belongings(
    containers=("demo-litellm-0", "demo-litellm-1", "demo-old-0", "demo-postgres-0"),
    kinds=("demo-litellm-0 litellm", "demo-litellm-1 litellm", "demo-postgres-0 postgres"),
    networks=("demo",),
    volumes=("demo-open-webui",),
    releases=(f"{DIRECTORY}/config/litellm/new", f"{DIRECTORY}/config/litellm/old"),
    directory=(str(DIRECTORY),),
)


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
    # what is not known first, then routers at the same time, then what they ask
    assert [words(command) for command in outcome.commands[:3]] == [
        ["stop", "demo-old-0", "0"],
        ["stop", "demo-litellm-0,demo-litellm-1", "0"],
        ["stop", "demo-postgres-0", "0"],
    ]
    assert outcome.shell[3:] == [
        "docker container rm --force demo-litellm-0 demo-litellm-1 demo-old-0 demo-postgres-0",
        "docker network rm demo",
        *of_volume,
        f"rm -rf {DIRECTORY}",
    ]
    assert (("remove", "volume demo-open-webui") in rows(announced)) is volumes
    assert len(announced()) == 6 + volumes


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

GOOD_HOST = HostState(
    engine_version="24.0.5",
    memory_bytes=64 * GIB,
    listening_ports=frozenset({22}),
    file_systems={"images": FileSystem("/", "1", 100 * GIB)},
)


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
    facts: Facts = {Host: replace(GOOD_HOST, **differences), Resources: {}}
    subject = Subject(demo.host("@local"), demo.stack.on("@local"))
    arguments: dict[str, Any] = {"deployment": "demo", "subject": subject, "secrets": demo.secrets}
    assert run(precheck.passed, facts, **arguments).commands == []


@pytest.mark.parametrize(
    ("differences", "message"),
    [
        (
            {"engine_version": None, "engine_error": "permission denied"},
            "Docker: permission denied\n"
            "    allowed: Docker 20.10 or newer that this user may use\n"
            "    fix: install and start Docker, or declare sudo=True for the host",
        ),
        (
            {
                "engine_version": None,
                "engine_error": "Cannot connect to the Docker daemon at unix:///x. Is it running?",
            },
            "Docker: Cannot connect to the Docker daemon at unix:///x. Is it running?\n"
            "    allowed: Docker 20.10 or newer that this user may use\n"
            "    fix: start Docker on the host: sudo systemctl start docker",
        ),
        (
            {"engine_version": None, "engine_error": "the docker command is Podman's"},
            "Docker: the docker command is Podman's\n"
            "    allowed: Docker 20.10 or newer that this user may use\n"
            "    fix: remove the package podman-docker from the host, and install Docker",
        ),
        (
            {"engine_version": "19.03.15"},
            "Docker: version 19.03.15\n    allowed: 20.10 or newer\n"
            "    fix: upgrade it; versions 3 to 5 are Podman's: replace podman-docker by Docker",
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
            {"file_systems": {"images": FileSystem("/var/lib/docker", "1", GIB // 8)}},
            "disk: 128 MiB free on /var/lib/docker (images)\n"
            "    allowed: at least 256 MiB\n"
            "    fix: free some, e.g. docker image prune --all; or move Docker's data to a larger "
            "disk (data-root in docker_settings)",
        ),
    ],
)
def test_a_bad_host_is_refused(demo: Artefacts, differences: dict[str, Any], message: str) -> None:
    # a Docker that this user may not use
    docker = DockerState(is_installed=True)
    facts: Facts = {
        Host: replace(GOOD_HOST, **differences),
        Docker: docker,
        Resources: {},
    }
    subject = Subject(demo.host("@local"), demo.stack.on("@local"))
    with pytest.raises(OperationError) as refused:
        run(precheck.passed, facts, deployment="demo", subject=subject, secrets=demo.secrets)
    assert str(refused.value) == f"h1 cannot be deployed to\n{message}"


def test_data_is_not_left_behind_on_another_host(make: MakeArtefacts) -> None:
    artefacts = make(
        hosts=[{"name": "a", "address": "10.0.0.1"}, {"name": "b", "address": "10.0.0.2"}],
        router={"host": "b"},
        engine={"port": 8000},
    )
    elsewhere = tuple(unit for unit in artefacts.stack.units if unit.host != "a")
    subject = Subject(artefacts.host("a"), artefacts.stack.on("a"), elsewhere=elsewhere)
    arguments: dict[str, Any] = {
        "deployment": "demo",
        "subject": subject,
        "secrets": artefacts.secrets,
    }
    facts: dict[Any, Any] = {Host: GOOD_HOST, Resources: {"volume demo-open-webui": "demo"}}
    with pytest.raises(OperationError, match="the plan moves it to b") as refused:
        run(precheck.passed, facts, **arguments)
    assert "declare web_ui.host for this host" in str(refused.value)
    facts[Resources] = {"volume demo-open-webui": "somebody"}
    assert run(precheck.passed, facts, **arguments).commands == []


def test_the_host_is_asked_for_what_is_to_come(make: MakeArtefacts) -> None:
    """Every file of a model."""
    made = make(engine={"kind": "ollama"}, web_ui=None)
    asked = host_question("demo", Subject(made.host("@local"), made.stack.on("@local")))
    [file] = made.stack.units[0].model_files
    assert asked["files"] == [str(file.path)]


# the file of secrets, the barrier, the verification


def keep(store: SecretStore, known: KnownSecrets, *, is_first: bool = True) -> Outcome:
    host = FakeHost({})
    host.connector_data[KNOWN] = known
    return run(secret_file.kept, host, secrets=store, directory=HERE.directory, is_first=is_first)


def test_generated_secrets_are_kept_when_executed(tmp_path: Path, announced: Announced) -> None:
    store = SecretStore(tmp_path / ".secrets" / "demo.yaml", {})
    save, write = keep(store, KnownSecrets()).commands
    assert isinstance(save, FunctionCommand)
    [(action, resource), fingerprint] = rows(announced)
    assert (action.split()[0], resource) == ("generate", f"secrets {store.path}")
    assert fingerprint == ("create", f"file {HERE.directory}/secrets.fingerprint")
    assert not store.path.exists()
    assert save.function(None, None, *save.args) is True
    assert store.path.exists()
    # the host is told, and afterwards nothing is left to do
    [said] = Outcome([write], FakeHost({})).stdin
    assert said.startswith('{"fingerprint": "hmac:')
    again = SecretStore(store.path, {})
    assert keep(again, KnownSecrets(said)).commands == []


def test_what_other_hosts_know_is_announced_there_alone(
    tmp_path: Path, announced: Announced
) -> None:
    """But no host is told of secrets before they are kept."""
    store = SecretStore(tmp_path / "demo.yaml", {})
    save, _ = keep(store, KnownSecrets(), is_first=False).commands
    assert isinstance(save, FunctionCommand)
    assert rows(announced) == [("create", f"file {HERE.directory}/secrets.fingerprint")]


def test_other_secrets_than_the_hosts_are_refused(demo: Artefacts) -> None:
    facts: Facts = {
        Host: replace(GOOD_HOST, known_secrets=KnownSecrets("{}")),
        Resources: {},
    }
    subject = Subject(demo.host("@local"), demo.stack.on("@local"))
    arguments: dict[str, Any] = {"deployment": "demo", "subject": subject, "secrets": demo.secrets}
    with pytest.raises(OperationError) as refused:
        run(precheck.passed, facts, **arguments)
    assert str(refused.value).startswith(
        "h1 cannot be deployed to\nsecrets: deployment 'demo' runs on h1 with secrets that this "
        f"machine does not have: {demo.secrets.path} holds other secrets than those\n"
    )
    insists = FakeHost(facts, data={"new_secrets": "yes"})
    assert run(precheck.passed, insists, **arguments).commands == []


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
    check = Check("router", "h1", ok, 1.0, "said x", "less than planned")
    monkeypatch.setattr("deploy.live.verify.verify", lambda *_, **__: iter([check]))
    outcome = run(verified.answers, {}, executing=True, artefacts=demo)
    assert "said x" in outcome.host.said[0]
    assert "less than planned" in outcome.host.said[1]
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
    used: list[Any] = []

    def verify(_: Artefacts, logins: Any, addresses: Any, *_more: Any) -> Iterator[Any]:
        used.append((logins, addresses))
        return iter(())

    monkeypatch.setattr("deploy.live.verify.verify", verify)
    run(verified.answers, host, executing=True, artefacts=demo)
    logins = {"h1": Login(ssh.client, password)}
    # of a host that has changed since it was looked at, no address holds
    assert used == [(logins, {})]
    seen = UnitsState({"demo-litellm-0": live(demo, "demo-litellm-0", addresses={"demo": "a"})})
    monkeypatch.setattr(look, "seen", lambda *_: seen)
    run(verified.answers, host, executing=True, artefacts=demo)
    assert used[1:] == [(logins, {"h1": {"demo-litellm-0": {"demo": "a"}}})]


@pytest.mark.parametrize(
    ("gives", "changed", "token"),
    [
        (lambda: "t", None, "t"),
        (lambda: "t", Tier.ROUTER, "t"),
        (lambda: "t", Tier.WEB_UI, ""),
        (lambda: "", None, ""),
        (lambda: gevent.sleep(60), None, ""),
    ],
)
def test_verification_uses_a_login_that_was_begun_if_no_web_ui_has_changed_since(
    demo: Artefacts,
    monkeypatch: pytest.MonkeyPatch,
    gives: Callable[[], str],
    changed: Tier | None,
    token: str,
) -> None:
    used: list[str] = []

    def verify(
        _: Artefacts, _logins: Any, _addresses: Any, token: str, _tell: Any
    ) -> Iterator[Any]:
        used.append(token)
        return iter(())

    monkeypatch.setattr(verified, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr("deploy.live.early_login.early_token", lambda *_: gives())
    monkeypatch.setattr("deploy.live.verify.verify", verify)
    host = FakeHost({Host: GOOD_HOST, Resources: {}, Units: UnitsState({}), Health: ""})
    arguments = checked(demo, partial(verified.sign_in_early, demo))
    run(precheck.passed, host, executing=True, **arguments)
    if changed:
        host.name = "@local"
        assert run(units.converged, host, executing=True, artefacts=demo, tier=changed).commands
    run(verified.answers, host, executing=True, artefacts=demo)
    assert used == [token]


def test_a_dry_run_begins_no_login(demo: Artefacts) -> None:
    arguments = checked(demo, lambda: pytest.fail("begun"))
    run(precheck.passed, {Host: GOOD_HOST, Resources: {}}, **arguments)


def checked(artefacts: Artefacts, meanwhile: Callable[[], None]) -> dict[str, Any]:
    subject = Subject(artefacts.host("@local"), artefacts.stack.on("@local"))
    return {
        "deployment": "demo",
        "subject": subject,
        "secrets": artefacts.secrets,
        "meanwhile": meanwhile,
    }


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


def test_what_docker_says_is_explained_but_not_what_a_service_logs(
    demo: Artefacts, caplog: pytest.LogCaptureFixture
) -> None:
    state = SimpleNamespace(print_input=False, print_output=False)
    command = ScriptCommand("container.sh", "x", redact=demo.secrets.redact)
    logged = ScriptHost("its last lines:", "    bind: address already in use")
    command.execute(state, logged, {})  # type: ignore[arg-type]
    assert "fix:" not in caplog.text
    said = ScriptHost("does not start: Bind for 0.0.0.0:4000 failed: port is already allocated")
    command.execute(state, said, {})  # type: ignore[arg-type]
    assert "fix: another program has this port" in caplog.text


def test_a_network_that_docker_refuses_is_explained(caplog: pytest.LogCaptureFixture) -> None:
    [command, *_] = run(resource.present, {Resources: {}}, **SHARED).commands
    host = ScriptHost(
        "Error response from daemon: could not find an available, non-overlapping IPv4 address "
        "pool among the defaults to assign to the network"
    )
    state = SimpleNamespace(print_input=False, print_output=False)
    command.execute(state, host, {})  # type: ignore[arg-type]
    assert "docker network prune" in caplog.text
    assert "default-address-pools" in caplog.text
