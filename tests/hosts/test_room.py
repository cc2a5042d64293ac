"""Room for what is to come, on the file systems that it goes to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from deploy.artefacts import Artefacts
from deploy.hosts.downloads import downloads_on
from deploy.hosts.room import Need, room_findings, room_needs
from deploy.hosts.state import Daemon, FileSystem, HostState, Place
from deploy.hosts.subject import Subject
from deploy.images import ImageArchive, ImageUse
from deploy.local_file import LocalFile
from deploy.services import Unit
from deploy.spec import HostSpec
from tests.conftest import MakeArtefacts

GIB, MIB = 1024**3, 1024**2
REMOTE = HostSpec(name="gpu1")


def state(**mounts: int) -> HostState:
    """A host with these places, each on a file system of its own with so much free."""
    systems = {
        place.replace("_", " "): FileSystem(f"/mnt/{place}", f"dev-{place}", free)
        for place, free in mounts.items()
    }
    return HostState(engine_version="24.0.5", file_systems=systems)  # type: ignore[arg-type]


def problems(found: HostState, needs: list[Need]) -> list[tuple[str, str]]:
    findings = list(room_findings(found, needs))
    assert all(finding.fix for finding in findings if finding.status != "ok")
    return [(one.found, one.allowed) for one in findings if one.status == "problem"]


@pytest.mark.parametrize(
    ("place", "fix"),
    [
        ("images", "docker image prune --all; or move Docker's data"),
        ("volumes", "docker image prune --all"),
        ("directory", "declare another directory for the host, on a larger disk"),
        ("temporary files", "remove files that are not needed from there, or make it larger"),
    ],
)
def test_what_is_full_is_made_room_on_where_it_is_full(place: str, fix: str) -> None:
    full = {place: FileSystem("/full", "1", 0)}
    [finding] = room_findings(HostState(file_systems=full), [Need("x", "volumes", 1)])  # type: ignore[arg-type]
    assert fix in finding.fix
    assert finding.fix.startswith("free some") is ("docker" in fix)


def test_images_that_containerd_keeps_are_moved_with_it() -> None:
    """data-root moves no image there."""
    full: dict[Place, FileSystem] = {"images": FileSystem("/full", "1", 0)}
    found = HostState(file_systems=full, daemon=Daemon(has_containerd_images=True))
    [finding] = room_findings(found, [])
    assert "containerd/config.toml" in finding.fix
    assert "data-root" not in finding.fix


def test_what_is_in_another_machine_takes_no_room_of_the_host() -> None:
    full: dict[Place, FileSystem] = {"images": FileSystem("/full", "1", 0)}
    apart = HostState(file_systems=full, daemon=Daemon(operating_system="Docker Desktop"))
    assert list(room_findings(apart, [Need("engine:1", "images", GIB)])) == []


def test_what_goes_to_one_file_system_is_added_up() -> None:
    needs = [Need("engine:1", "images", 8 * GIB), Need("x.gguf", "directory", 3 * GIB)]
    apart = state(images=9 * GIB, directory=4 * GIB)
    assert problems(apart, needs) == []
    together = replace(
        apart,
        file_systems={
            "images": FileSystem("/var", "1", 9 * GIB),
            "directory": FileSystem("/var", "1", 9 * GIB),
        },
    )
    assert problems(together, needs) == [
        (
            "9.0 GiB free on /var (images, directory)",
            "at least 11.0 GiB\n      engine:1: 8.0 GiB\n      x.gguf: 3.0 GiB",
        )
    ]


def on(device: str, free: int, pool: str = "", mount: str = "/") -> FileSystem:
    return FileSystem(mount, device, free, pool=pool)


@pytest.mark.parametrize("pool", ["/dev/sda2", "tank"])
def test_subvolumes_and_datasets_share_their_space(pool: str) -> None:
    """Each of them is a device of its own, and each says that all that is free is its own."""
    needs = [Need("engine:1", "images", 8 * GIB), Need("x.gguf", "directory", 3 * GIB)]

    def both(free: int, of_images: int) -> HostState:
        return HostState(
            file_systems={
                "directory": on("41", free, pool, "/srv"),
                "images": on("42", of_images, pool, "/var/lib/docker"),
            }
        )

    assert problems(both(9 * GIB, 9 * GIB), needs) == [
        (
            "9.0 GiB free on /srv and /var/lib/docker (directory, images)",
            "at least 11.0 GiB\n      engine:1: 8.0 GiB\n      x.gguf: 3.0 GiB",
        )
    ]
    assert problems(both(12 * GIB, 12 * GIB), needs) == []
    # one of them has a quota: what is short is told once
    assert problems(both(12 * GIB, 2 * GIB), needs) == [
        (
            "2.0 GiB free on /var/lib/docker (images)",
            "at least 8.0 GiB\n      engine:1: 8.0 GiB",
        )
    ]


def test_a_quota_of_one_directory_is_no_quota_of_another() -> None:
    """XFS and ext4 have them for projects: df says another free space of each directory."""
    needs = [Need("engine:1", "images", 8 * GIB), Need("x.gguf", "directory", 3 * GIB)]

    def both(of_directory: int, of_images: int) -> HostState:
        places: dict[Place, FileSystem] = {
            "directory": on("1", of_directory),
            "images": on("1", of_images),
        }
        return HostState(file_systems=places)

    assert problems(both(4 * GIB, 100 * GIB), needs) == []
    assert [found for found, _ in problems(both(100 * GIB, 4 * GIB), needs)] == [
        "4.0 GiB free on / (images)"
    ]
    assert [found for found, _ in problems(both(4 * GIB, 10 * GIB), needs)] == [
        "10.0 GiB free on / (directory, images)"
    ]
    # files come and go between two questions
    assert len(list(room_findings(both(99 * GIB, 99 * GIB + MIB), needs))) == 1


@pytest.mark.parametrize("place", ["images", "volumes", "directory"])
def test_each_place_counts(place: Place) -> None:
    found = state(images=GIB, volumes=GIB, directory=GIB)
    needs = [Need("it", place, 2 * GIB)]
    expected = (f"1.0 GiB free on /mnt/{place} ({place})", "at least 2.0 GiB\n      it: 2.0 GiB")
    assert problems(found, needs) == [expected]


def test_a_full_disk_is_refused_though_nothing_is_to_come() -> None:
    full = state(images=0, directory=0, temporary_files=0)
    assert [found for found, _ in problems(full, [])] == [
        "0 MiB free on /mnt/images (images)",
        "0 MiB free on /mnt/directory (directory)",
        "0 MiB free on /mnt/temporary_files (temporary files)",
    ]


def test_a_disk_without_inodes_is_refused() -> None:
    system = FileSystem("/srv", "1", 100 * GIB, free_inodes=7)
    found = HostState(file_systems={"directory": system})
    assert problems(found, []) == [
        ("room for 7 more files on /srv (directory)", "at least 1000 (df -i)")
    ]
    unlimited = HostState(file_systems={"directory": replace(system, free_inodes=None)})
    assert problems(unlimited, []) == []


# what is to come


def needs_of(unit: Unit | None, found: HostState, *images: ImageUse) -> list[tuple[str, str, int]]:
    subject = Subject(REMOTE, (unit,) if unit else (), images)
    return rows(room_needs(subject, found))


def rows(needs: Iterable[Need]) -> list[tuple[str, str, int]]:
    return [(need.what, need.place, need.size_bytes) for need in needs if need.size_bytes]


@pytest.fixture
def engine(demo: Artefacts) -> Unit:
    return demo.stack.units[0]


def test_a_model_file_that_is_there_needs_nothing(engine: Unit) -> None:
    file = engine.model_file
    assert file is not None
    size = file.source.path.stat().st_size
    assert needs_of(engine, HostState()) == [(file.path.name, "directory", size)]
    whole = HostState(file_sizes={str(file.path): size})
    assert needs_of(engine, whole) == []
    # a copy that was cut is gone on with
    part = HostState(file_sizes={f"{file.path}.part": size - 100})
    assert needs_of(engine, part) == [(file.path.name, "directory", 100)]


def test_ollama_has_a_model_twice(make: MakeArtefacts) -> None:
    engine = make(engine={"kind": "ollama"}).stack.units[0]
    [file], [model] = engine.model_files, engine.models
    size = file.source.path.stat().st_size
    stored = (f"{model.name} in {model.volume}", "volumes", size)
    copied = (file.path.name, "directory", size)
    assert needs_of(engine, HostState()) == [copied, stored]
    there = HostState(file_sizes={str(file.path): size})
    assert needs_of(engine, there) == [stored]
    daemon = Daemon(volumes=frozenset([model.volume]))
    assert needs_of(engine, replace(there, daemon=daemon)) == []
    # another model in a store that is there
    assert needs_of(engine, HostState(daemon=daemon)) == [copied, stored]


VLLM: dict[str, Any] = {"hosts": [{"name": "gpu1", "gpus": "2x l40s"}], "engine": {"kind": "vllm"}}
"""One host for two replicas."""


def test_weights_that_the_hub_is_asked_about_are_no_guess(make: MakeArtefacts) -> None:
    made = make(**VLLM, models=[{"name": "qwen2.5-coder-7b", "replicas": 2}], web_ui=None)
    assert downloads_on("gpu1", made.context) == ()
    [weights] = Subject(REMOTE, made.stack.units).weights
    assert weights.name == "Qwen/Qwen2.5-Coder-7B-Instruct@main"
    assert Subject(REMOTE, made.stack.units).weights_cache == ""


def test_a_cache_elsewhere_is_a_place_of_its_own(make: MakeArtefacts) -> None:
    engine = {"kind": "vllm", "huggingface_cache": "/srv/huggingface"}
    made = make(
        **VLLM | {"engine": engine},
        models=[{"name": "qwen2.5-coder-7b", "replicas": 1}],
        web_ui=None,
    )
    assert Subject(REMOTE, made.stack.units).weights_cache == "/srv/huggingface"
    needs = [Need("weights", "weights", 2 * GIB)]
    assert problems(state(weights=GIB, directory=9 * GIB), needs) == [
        ("1.0 GiB free on /mnt/weights (weights)", "at least 2.0 GiB\n      weights: 2.0 GiB")
    ]


def test_weights_that_each_ollama_fetches(make: MakeArtefacts) -> None:
    own = {**VLLM, "engine": {"kind": "ollama"}}
    made = make(**own, models=[{"name": "qwen2.5-coder-7b", "replicas": 2}], web_ui=None)
    downloads = downloads_on("gpu1", made.context)
    assert [download.volume for download in downloads] == [
        "demo-ollama-qwen2.5-coder-7b-0",
        "demo-ollama-qwen2.5-coder-7b-1",
    ]
    assert all(3 * GIB < download.size_bytes < 9 * GIB for download in downloads)


def archive(reference: str, unpacked: int, packed: int) -> ImageArchive:
    file = LocalFile(Path(f"/{reference}.tar"), packed, "0" * 64)
    return ImageArchive(file, unpacked, {reference: ["sha256:1"]})


def loaded(demo: Artefacts, name: str, unpacked: int, packed: int) -> ImageUse:
    use = demo.images[name]
    reference = use.image.reference
    return replace(use, archive=archive(reference, unpacked, packed), source="load")


def test_archives_are_unpacked_one_after_the_other(demo: Artefacts) -> None:
    """Docker unpacks an archive beside what it has, before it makes an image of it."""
    large = loaded(demo, "llama-cpp", 8 * GIB, 3 * GIB)
    small = loaded(demo, "litellm", GIB, GIB // 2)
    assert needs_of(None, HostState(), large, small) == [
        (large.image.reference, "images", 8 * GIB),
        (small.image.reference, "images", GIB),
        ("unpacking the largest image", "images", 8 * GIB),
        ("the largest archive of an image", "directory", 3 * GIB),
    ]
    there = HostState(images=frozenset([large.image.reference]))
    assert needs_of(None, there, large, small)[0][0] == small.image.reference


def test_what_arrived_of_an_archive_needs_no_room(demo: Artefacts) -> None:
    use = loaded(demo, "litellm", GIB, GIB // 2)
    subject = Subject(REMOTE, (), (use,), directory=PurePosixPath("/srv/deployments/demo"))
    path = f"/srv/deployments/demo/images/{'0' * 64}.tar"
    assert subject.paths == [path]
    part = HostState(file_sizes={f"{path}.part": GIB // 2 - MIB})
    assert rows(room_needs(subject, part))[-1] == (
        *("the largest archive of an image", "directory"),
        MIB,
    )


def test_images_of_unknown_size_need_some_room(demo: Artefacts) -> None:
    use = demo.images["litellm"]
    assert needs_of(None, HostState(), use) == [("other images, at least", "images", 2 * GIB)]
    assert needs_of(None, HostState(images=frozenset([use.image.reference])), use) == []


def test_a_model_larger_than_its_disk_is_refused(demo: Artefacts, make: MakeArtefacts) -> None:
    """As it was reported: 120 MiB of a model, 48 MiB of disk."""
    engine = demo.stack.units[0]
    file = engine.model_file
    assert file is not None
    part = replace(file.source.parts[0], size_bytes=120 * MIB)
    larger: Any = file.model_copy(update={"source": replace(file.source, parts=(part,))})
    changed = engine.model_copy(update={"model_file": larger})
    found = state(images=100 * GIB, volumes=100 * GIB, directory=48 * MIB)
    needs = list(room_needs(Subject(REMOTE, (changed,)), found))
    assert problems(found, needs) == [
        (
            "48 MiB free on /mnt/directory (directory)",
            f"at least 120 MiB\n      {file.path.name}: 120 MiB",
        )
    ]
