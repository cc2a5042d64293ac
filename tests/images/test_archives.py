"""Archives of images: what is read from them, and what is refused before anything happens."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from deploy.artefacts import make_artefacts
from deploy.catalog import Catalog
from deploy.errors import AtelierError
from deploy.images import archive as archives
from deploy.images import make_build_plan, read_archive, resolve_images
from tests.conftest import declare
from tests.recognisable import write_secrets

CONFIG = "9f7c820d67b1c2fe85fbc24f44d5ac4ecfa679cffe72f65eea6c72da95289ac1"
MANIFEST = "sha256:" + "ab" * 32


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    archives._remembered.cache_clear()


def write(path: Path, mode: str = "w", /, **files: Any) -> Path:
    """An archive with these files, given by their names with underscores for dots."""
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            member = tarfile.TarInfo(name.replace("_", "."))
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def manifest(*tags: str, config: str = f"{CONFIG}.json") -> list[dict[str, Any]]:
    return [{"Config": config, "RepoTags": list(tags), "Layers": []}]


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz", "w:bz2"])
def test_an_archive_of_docker_before_25(tmp_path: Path, mode: str) -> None:
    path = write(
        tmp_path / "x.tar", mode, layer_tar=bytes(100_000), manifest_json=manifest("litellm:v1")
    )
    read = read_archive(path, "x")
    assert read.images == {"litellm:v1": [f"sha256:{CONFIG}"]}
    assert read.file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert read.file.size_bytes == path.stat().st_size
    assert read.unpacked_bytes > 100_000


def test_an_archive_of_newer_dockers(tmp_path: Path) -> None:
    """Their engine may keep images in containerd, under the digest of the manifest."""
    name = {"io.containerd.image.name": "docker.io/vllm/vllm-openai:v1"}
    path = write(
        tmp_path / "x.tar",
        index_json={"manifests": [{"digest": MANIFEST, "annotations": name}]},
        manifest_json=manifest("vllm/vllm-openai:v1", config=f"blobs/sha256/{CONFIG}"),
    )
    wanted = {f"sha256:{CONFIG}", MANIFEST}
    assert set(read_archive(path, "x").ids("docker.io/vllm/vllm-openai:v1")) == wanted


def test_what_an_image_of_an_archive_runs_on(tmp_path: Path) -> None:
    configuration = json.dumps({"architecture": "arm64", "os": "linux", "rootfs": {}}).encode()
    folder = {f"{CONFIG}_json": configuration, "layer_tar": b"{no json", "VERSION": b"1.0"}
    before_25 = write(tmp_path / "old.tar", **folder, manifest_json=manifest("x:1"))
    assert read_archive(before_25, "x").architectures == {"x:1": ["arm64"]}
    blobs = {f"blobs/sha256/{CONFIG}": configuration}
    newer = write(
        tmp_path / "new.tar",
        **blobs,
        manifest_json=manifest("x:1", config=f"blobs/sha256/{CONFIG}"),
    )
    assert read_archive(newer, "x").architectures == {"x:1": ["arm64"]}
    silent = write(tmp_path / "silent.tar", manifest_json=manifest("x:1"))
    assert read_archive(silent, "x").architectures == {"x:1": []}


def test_an_image_for_several_architectures(tmp_path: Path) -> None:
    """Where containerd keeps images: a list of manifests, each with its configuration."""
    digests = {name: f"{number:064x}" for number, name in enumerate(("list", "a", "b", "c", "d"))}
    documents = {
        digests["list"]: {
            "manifests": [
                {"digest": f"sha256:{digests['a']}"},
                {"digest": f"sha256:{digests['b']}"},
            ]
        },
        digests["a"]: {"config": {"digest": f"sha256:{digests['c']}"}, "layers": []},
        digests["b"]: {"config": {"digest": f"sha256:{digests['d']}"}, "layers": []},
        digests["c"]: {"architecture": "amd64"},
        digests["d"]: {"architecture": "arm64"},
    }
    name = {"io.containerd.image.name": "docker.io/library/x:1"}
    index = {"manifests": [{"digest": f"sha256:{digests['list']}", "annotations": name}]}
    blobs = {f"blobs/sha256/{digest}": document for digest, document in documents.items()}
    path = write(tmp_path / "x.tar", **blobs, index_json=index)
    assert read_archive(path, "x").architectures == {"x:1": ["amd64", "arm64"]}


def test_an_archive_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "x.tar", manifest_json=manifest("litellm:v1"))
    first = read_archive(path, "x")
    archives._remembered.cache_clear()
    monkeypatch.setattr(archives, "_read", None)
    assert read_archive(path, "x") == first


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_part_of_an_archive_is_refused(tmp_path: Path, mode: str) -> None:
    path = write(
        tmp_path / "x.tar", mode, layer=bytes(range(256)) * 999, manifest_json=manifest("x:1")
    )
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(AtelierError) as refused:
        read_archive(path, "images.litellm.archive")
    assert str(refused.value).startswith(
        f"images.litellm.archive: {path} is not an archive of images, or a part of one: "
    )


@pytest.mark.parametrize("content", [{"etc_passwd": b"x"}, {"manifest_json": manifest()}])
def test_an_archive_of_something_else_is_refused(tmp_path: Path, content: dict[str, Any]) -> None:
    with pytest.raises(AtelierError, match="it names no image"):
        read_archive(write(tmp_path / "x.tar", **content), "x")


def test_an_archive_that_is_not_the_one_that_was_saved(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tar", manifest_json=manifest("x:1"))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    sums = tmp_path / "SHA256SUMS"
    sums.write_text(f"{digest}  x.tar\n{'0' * 64}  other.tar\n")
    read_archive(path, "x")
    sums.write_text(f"{'0' * 64}  x.tar\n")
    with pytest.raises(AtelierError, match=r"is not the file that .*SHA256SUMS names"):
        read_archive(path, "x")


# what a deployment makes of it


def test_upstreams_image_or_the_one_built_here(tmp_path: Path, catalog: Catalog) -> None:
    upstream, built = catalog.images["litellm"].reference, make_build_plan("open-webui", catalog)
    write(tmp_path / "images" / "litellm.tar.gz", "w:gz", manifest_json=manifest(upstream))
    write(tmp_path / "images" / "open-webui.tar", manifest_json=manifest(built.tag))
    spec = declare(image_source="load", image_archives="images")
    uses = resolve_images(spec, catalog, tmp_path)
    assert uses["litellm"].image.reference == upstream
    # with the user of the image that is built here
    assert uses["open-webui"].image.reference == built.tag
    assert (uses["open-webui"].image.user, uses["open-webui"].image.read_only) == (
        *("65534:65534", True),
    )
    assert [use.problems for use in (uses["litellm"], uses["open-webui"])] == [(), ()]


def test_one_archive_with_a_reference_of_its_own(tmp_path: Path, catalog: Catalog) -> None:
    write(tmp_path / "mine.tar", manifest_json=manifest("lab/litellm:v7"))
    own = {"litellm": {"archive": "mine.tar", "reference": "lab/litellm:v7"}}
    use = resolve_images(declare(images=own), catalog, tmp_path)["litellm"]
    assert (use.source, use.image.reference, use.problems) == ("load", "lab/litellm:v7", ())


def message(directory: Path, **settings: Any) -> str:
    write_secrets(directory / ".secrets" / "demo.yaml")
    with pytest.raises(AtelierError) as refused:
        make_artefacts(declare(web_ui=None, **settings), directory)
    return str(refused.value)


def test_every_missing_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    folder = tmp_path / "images"
    said = message(tmp_path, image_source="load", image_archives="images")
    for name in ("llama-cpp", "litellm"):
        assert (
            f"images.{name}: no archive of it in {folder}\n"
            f"    allowed: a file {name}.tar.gz, or {name}.tar\n"
            "    fix: make it where the image can be had: atelier images INVENTORY --save images"
        ) in said
    # nobody uses it
    assert "vllm" not in said


def test_no_archive_is_declared(tmp_path: Path) -> None:
    assert message(tmp_path, images={"litellm": {"source": "load"}}) == (
        "images.litellm: it is loaded from an archive, and none is declared\n"
        "    fix: declare image_archives='images/', or "
        "images={'litellm': Image(archive='...')}"
    )


def test_an_archive_that_is_not_there(tmp_path: Path) -> None:
    assert message(tmp_path, images={"litellm": {"archive": "no.tar"}}) == (
        f"images.litellm.archive: cannot read {tmp_path}/no.tar: No such file or directory\n"
        "    fix: give the path of an archive of docker image save"
    )


def test_an_archive_of_another_image(tmp_path: Path, catalog: Catalog) -> None:
    write(tmp_path / "x.tar", manifest_json=manifest("litellm:old"))
    said = message(tmp_path, images={"litellm": {"archive": "x.tar"}})
    built = make_build_plan("litellm", catalog).tag
    assert said == (
        f"images.litellm.archive: {tmp_path}/x.tar holds litellm:old\n"
        f"    allowed: {catalog.images['litellm'].reference} or {built}\n"
        "    fix: save that one, or declare "
        "images={'litellm': Image(archive=..., reference=...)}"
    )
