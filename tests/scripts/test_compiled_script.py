"""The script that carries what an engine compiled, with a Docker that keeps all in directories."""

from __future__ import annotations

import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from deploy.scripts import read_script

CACHE = "/root/.cache/vllm"
DOCKER = r"""#!/bin/sh
# containers are directories; of one that is created, the volume is a link in it
echo "$*" >>"$FAKE/log"
case "$1 $2" in
  "container rm") rm -rf "$FAKE/containers/$4" ;;
  "container create")
    name=$4
    while [ "$1" != --mount ]; do shift; done
    volume=${2#*source=} volume=${volume%%,*} target=${2##*target=}
    [ -d "$FAKE/volumes/$volume" ] || exit 1
    mkdir -p "$FAKE/containers/$name$(dirname "$target")"
    ln -s "$FAKE/volumes/$volume" "$FAKE/containers/$name$target"
    ;;
  "cp -") cd "$FAKE/containers/${3%%:*}${3#*:}" && tar --keep-directory-symlink -x ;;
  exec*)
    cd "$FAKE/containers/$2" || exit 126
    directory=$5
    shift 5
    tar -C ".$directory" "$@" || exit 2
    [ ! -e "$FAKE/cut" ] || exit 137
    ;;
esac
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(DOCKER)
    docker.chmod(0o755)
    compiled = tmp_path / f"containers/serving{CACHE}/torch_compile_cache/ab/rank_0_0/model"
    compiled.parent.mkdir(parents=True)
    compiled.write_bytes(b"\x7fELF" * 1000)
    for left in ("cache_key_factors.json", "model.130.tmp"):
        compiled.with_name(left).write_text("sk-engine")
    (tmp_path / "volumes" / "new").mkdir(parents=True)
    return tmp_path


def run(place: Path, action: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", read_script("compiled.sh"), "atelier", action, CACHE, *arguments],
        env={"PATH": f"{place / 'bin'}:{os.environ['PATH']}", "FAKE": str(place)},
        capture_output=True,
        text=True,
    )


def test_what_was_packed_is_unpacked_in_the_volume(place: Path) -> None:
    archive = place / "own" / "new.tar.gz"
    packed = run(place, "pack", "serving", str(archive))
    assert (packed.returncode, packed.stderr) == (0, "")
    assert archive.stat().st_mode & 0o777 == 0o600
    with tarfile.open(archive) as files:
        assert files.getnames()[0] == "vllm"
    done = run(place, "unpack", "new", "image", "demo", str(archive))
    assert (done.returncode, done.stderr) == (0, "")
    model = place / "volumes/new/torch_compile_cache/ab/rank_0_0/model"
    assert model.read_bytes() == b"\x7fELF" * 1000
    assert [path.name for path in model.parent.iterdir()] == ["model"]
    assert not archive.exists()
    assert [path.name for path in (place / "containers").iterdir()] == ["serving"]
    assert "--label io.atelier.deployment=demo" in (place / "log").read_text()


def test_half_of_it_is_not_kept(place: Path) -> None:
    (place / "cut").touch()
    archive = place / "own" / "new.tar.gz"
    assert run(place, "pack", "serving", str(archive)).returncode == 1
    assert list(archive.parent.iterdir()) == []


def test_a_container_that_is_gone(place: Path) -> None:
    archive = place / "new.tar.gz"
    assert run(place, "pack", "gone", str(archive)).returncode == 1
    assert not archive.exists()


def test_an_archive_that_cannot_be_read(place: Path) -> None:
    archive = place / "new.tar.gz"
    archive.write_bytes(b"no archive")
    assert run(place, "unpack", "new", "image", "demo", str(archive)).returncode != 0
    assert not archive.exists()
    assert [path.name for path in (place / "containers").iterdir()] == ["serving"]


def test_what_is_on_the_host_is_forgotten(place: Path) -> None:
    archive = place / "new.tar.gz"
    archive.touch()
    assert run(place, "forget", str(archive)).returncode == 0
    assert run(place, "forget", str(archive)).returncode == 0
    assert not archive.exists()
