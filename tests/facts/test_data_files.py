"""What says which version wrote data: read from containers, else from volumes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from deploy.facts.data_files import DataFiles
from deploy.facts.renewal import CertificateRenewal
from deploy.tls.acme import Renewal

DOCKER = r"""#!/bin/sh
# a Docker whose containers and volumes are directories
case $1 in
  version) ;;
  cp)
    container=${2%%:*} path=${2#*:}
    [ -e "$FAKE/containers/$container$path" ] || exit 1
    tar -C "$FAKE/containers/$container$(dirname "$path")" -c "$(basename "$path")"
    ;;
  volume)
    eval "name=\${$#}"
    [ -d "$FAKE/volumes/$name" ] || exit 1
    echo "$FAKE/volumes/$name"
    ;;
esac
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(DOCKER)
    docker.chmod(0o755)
    return tmp_path


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def look(place: Path) -> dict[str, str]:
    files = (
        ("lab-postgres-0", "/data/PG_VERSION", "lab-postgres", "PG_VERSION"),
        ("lab-web-0", "/data/web.db", "lab-web", "web.db"),
    )
    environment = {"PATH": f"{place / 'bin'}:{os.environ['PATH']}", "FAKE": str(place)}
    finished = subprocess.run(
        ["sh", "-c", DataFiles().command(files)], env=environment, capture_output=True, text=True
    )
    assert (finished.returncode, finished.stderr) == (0, "")
    return DataFiles().process(finished.stdout.splitlines())


def test_nothing_is_there(place: Path) -> None:
    assert look(place) == {}


def test_a_container_is_asked_first(place: Path) -> None:
    put(place / "containers/lab-postgres-0/data/PG_VERSION", "17\n")
    put(place / "volumes/lab-postgres/PG_VERSION", "16\n")
    put(place / "containers/lab-web-0/data/web.db", "SQLite format 3\x00\x01" + "x" * 100_000)
    found = look(place)
    assert found["lab-postgres-0"] == "17"
    assert found["lab-web-0"].startswith("SQLite format 3")


def test_a_volume_without_its_container(place: Path) -> None:
    put(place / "volumes/lab-postgres/PG_VERSION", "16\n")
    assert look(place) == {"lab-postgres-0": "16"}


def test_a_host_without_docker(place: Path) -> None:
    (place / "bin" / "docker").write_text("#!/bin/sh\nexit 1\n")
    put(place / "volumes/lab-postgres/PG_VERSION", "16\n")
    assert look(place) == {}


@pytest.mark.parametrize("text", ["", "{}", "not JSON"])
def test_a_report_that_is_none(place: Path, text: str) -> None:
    assert renewal(place) is None
    put(place / "containers/lab-certbot-0/etc/report.json", text)
    assert renewal(place) is None


def test_the_report_of_a_certificate(place: Path) -> None:
    report = '{"issued": true, "ends": 5.5, "tried": 1.5, "failures": 2, "reason": "no", "new": 1}'
    put(place / "containers/lab-certbot-0/etc/report.json", f"{report}\n")
    assert renewal(place) == Renewal(issued=True, ends=5.5, tried=1.5, failures=2, reason="no")


def renewal(place: Path) -> Renewal | None:
    command = str(CertificateRenewal().command("lab-certbot-0", "/etc/report.json"))
    environment = {"PATH": f"{place / 'bin'}:{os.environ['PATH']}", "FAKE": str(place)}
    finished = subprocess.run(
        ["sh", "-c", command], env=environment, capture_output=True, text=True
    )
    assert (finished.returncode, finished.stderr) == (0, "")
    return CertificateRenewal().process(finished.stdout.splitlines())
