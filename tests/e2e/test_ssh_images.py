"""Images on a host over SSH: built here and shipped, loaded, pulled; asserted on the host."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tarfile
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import pytest

from deploy.catalog import load_catalog
from deploy.images import build_images, make_build_plan
from tests.e2e.cutting_proxy import CuttingProxy
from tests.e2e.hosts import USER, Host, bridge, run_host
from tests.e2e.names import CHECKOUT, host_name
from tests.e2e.registry import run_registry
from tests.e2e.site import MASTER_KEY, Operator
from tests.processes import started

NAME = host_name("images")
DEPLOYMENT = "e2e-images"
HOME = f"/var/lib/atelier/deployments/{DEPLOYMENT}"
PASSWORD = "correct-horse-battery"
MB = 1000**2
IMAGES_ONLY = """
from deploy.tasks import docker, images, precheck
from deploy.tasks.current import current_deployment

deployment = current_deployment()
precheck.check(deployment)
docker.install(deployment)
images.provide(deployment)
"""
Announced = list[tuple[str, str]]


@dataclass
class Site(Operator):
    """A deployment to one host, through a proxy that counts."""

    directory: Path
    host: Host
    proxy: CuttingProxy
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.environment |= {
            "HOME": str(self.directory),
            "XDG_CACHE_HOME": str(self.directory / ".cache"),
            "E2E_MASTER_KEY": MASTER_KEY,
        }
        deploy_file = self.directory / "images_only.py"
        deploy_file.write_text(IMAGES_ONLY)
        self.deploy_file = str(deploy_file)
        (self.directory / ".ssh").mkdir()
        line = self.host.known_host()
        known = line.replace(self.host.address, f"[127.0.0.1]:{self.proxy.port}")
        (self.directory / ".ssh" / "known_hosts").write_text(known)

    def declare(self, directory: str = "/var/lib/atelier", **settings: Any) -> None:
        declared: dict[str, Any] = {
            "name": DEPLOYMENT,
            "profile": "individual",
            "hosts": [
                {
                    "name": "box",
                    "address": "127.0.0.1",
                    "ssh_port": self.proxy.port,
                    "ssh_user": USER,
                    "ssh_key": str(self.host.key),
                    "sudo": True,
                    "directory": directory,
                }
            ],
            "models": [{"name": "tiny-coder"}],
            "web_ui": None,
            "secrets": {"router_master_key": {"env": "E2E_MASTER_KEY"}},
        }
        self.write_settings(declared | settings)

    def announced(self, *flags: str) -> Announced:
        """What a run that succeeds announces."""
        result = self.run(*flags)
        assert result.status == 0, result.output
        return result.steps

    def image_id(self, reference: str) -> str:
        """Id of an image of the host; empty if it has none."""
        command = f"docker image inspect --format '{{{{.Id}}}}' {reference} 2>/dev/null"
        return self.host.run(command, check=False)

    def kept(self) -> list[str]:
        """Files where archives are put on the host."""
        return self.host.run(f"ls {HOME}/images", check=False).split()


def make_image(name: str, size_bytes: int) -> str:
    """An image of random bytes on this machine; its id."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("random")
        member.size = size_bytes
        archive.addfile(member, io.BytesIO(os.urandom(size_bytes)))
    subprocess.run(
        ["docker", "import", "-", name], input=buffer.getvalue(), check=True, capture_output=True
    )
    client = docker.from_env()
    image_id = str(client.images.get(name).id)
    client.close()
    return image_id


def save(name: str, path: Path) -> Path:
    subprocess.run(["docker", "image", "save", "-o", str(path), name], check=True)
    return path


def forget(*names: str) -> None:
    subprocess.run(["docker", "image", "rm", "--force", *names], capture_output=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("image-site")
    build_images([make_build_plan("llama-cpp", load_catalog())], report=lambda _line: None)
    with run_host(NAME, directory) as host:
        proxy = CuttingProxy(host.address, 22)
        yield Site(directory, host, proxy)
        proxy.close()


@pytest.fixture(scope="module")
def router(site: Site) -> dict[str, Any]:
    """A small image in the place of the router's, in an archive."""
    make_image(f"e2e-router-{CHECKOUT}:1", 2 * MB)
    save(f"e2e-router-{CHECKOUT}:1", site.directory / "router.tar")
    forget(f"e2e-router-{CHECKOUT}:1")
    return {"archive": "router.tar", "reference": f"e2e-router-{CHECKOUT}:1"}


def test_an_image_built_here_is_shipped(site: Site, router: dict[str, Any]) -> None:
    tag = make_build_plan("llama-cpp", load_catalog()).tag
    site.declare(image_source="build", images={"litellm": router})
    assert site.apply().steps[-2:] == [
        ("copy", f"image {tag}"),
        ("load", f"image e2e-router-{CHECKOUT}:1"),
    ]
    client = docker.from_env()
    assert site.image_id(tag) == client.images.get(tag).id
    client.close()
    assert site.image_id(f"e2e-router-{CHECKOUT}:1")
    # nothing is left over, here or there
    assert site.kept() == []
    cached = list((site.directory / ".cache" / "atelier" / "images").iterdir())
    assert [path.name.split("-")[1] for path in cached] == ["llama"]


@pytest.fixture(scope="module")
def large(site: Site) -> tuple[Path, str]:
    """An archive of 60 MB that does not compress, and the id of its image."""
    image_id = make_image(f"e2e-large-{CHECKOUT}:1", 60 * MB)
    path = save(f"e2e-large-{CHECKOUT}:1", site.directory / "large.tar")
    forget(f"e2e-large-{CHECKOUT}:1")
    return path, image_id


def test_a_copy_that_was_cut_goes_on(
    site: Site, router: dict[str, Any], large: tuple[Path, str]
) -> None:
    path, image_id = large
    size = path.stat().st_size
    own = {"archive": path.name, "reference": f"e2e-large-{CHECKOUT}:1"}
    site.declare(image_source="build", images={"litellm": router, "llama-cpp": own})
    site.proxy.reset(limit_bytes=30 * MB)
    result = site.run("-y")
    assert result.status == 1
    assert "the connection broke after" in result.output
    assert "run it again to go on from there" in result.output
    [part] = site.kept()
    assert part == f"{hashlib.sha256(path.read_bytes()).hexdigest()}.tar.part"
    arrived = int(site.host.run(f"stat -c %s {HOME}/images/{part}"))
    assert 10 * MB < arrived < 30 * MB
    site.proxy.reset()
    assert site.announced("-y") == [("load", f"image e2e-large-{CHECKOUT}:1")]
    # the rest, and a megabyte for everything else that a run says
    assert site.proxy.sent_bytes < size - arrived + MB
    assert site.image_id(f"e2e-large-{CHECKOUT}:1") == image_id
    assert site.kept() == []
    assert site.announced("-y") == []


def test_a_corrupt_part_is_thrown_away(
    site: Site, router: dict[str, Any], large: tuple[Path, str]
) -> None:
    path, image_id = large
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    site.host.run(f"docker image rm e2e-large-{CHECKOUT}:1")
    site.host.run(f"head -c 5000000 /dev/zero >{HOME}/images/{digest}.tar.part")
    result = site.run("-y")
    assert result.status == 0, result.output
    assert "what an earlier copy left was corrupt" in result.output
    assert site.image_id(f"e2e-large-{CHECKOUT}:1") == image_id
    assert site.kept() == []


def test_an_archive_of_a_newer_image_replaces_the_one_there(
    site: Site, router: dict[str, Any]
) -> None:
    """The same name, made anew: known by its id."""
    newer = make_image(f"e2e-router-{CHECKOUT}:1", MB)
    save(f"e2e-router-{CHECKOUT}:1", site.directory / "router.tar")
    forget(f"e2e-router-{CHECKOUT}:1")
    assert site.apply().steps == [("load", f"image e2e-router-{CHECKOUT}:1")]
    assert site.image_id(f"e2e-router-{CHECKOUT}:1") == newer


def test_images_go_only_when_asked_and_only_ones_that_nothing_uses(
    site: Site, router: dict[str, Any], large: tuple[Path, str]
) -> None:
    """A container that somebody made keeps its image; somebody else's names keep theirs."""
    first = site.image_id(f"e2e-router-{CHECKOUT}:1")
    site.host.run(f"docker create --name foreign e2e-router-{CHECKOUT}:1 none")
    site.host.run(f"docker tag e2e-large-{CHECKOUT}:1 mine:1")
    newest = make_image(f"e2e-router-{CHECKOUT}:1", MB)
    save(f"e2e-router-{CHECKOUT}:1", site.directory / "router.tar")
    forget(f"e2e-router-{CHECKOUT}:1")
    site.declare(image_source="build", images={"litellm": router})
    site.announced("-y")
    listed = site.atelier("prune", "--json")
    assert listed.returncode == 0, listed.stderr
    old = [row["reference"] for row in json.loads(listed.stdout)["images"]]
    # the one before the last of an archive that was made anew twice, and one of the plan before
    assert sorted(old) == [f"e2e-large-{CHECKOUT}:1", f"e2e-router-{CHECKOUT}:1"]
    removed = site.atelier("prune", "--yes")
    assert removed.returncode == 0, removed.stdout + removed.stderr
    assert site.image_id(f"e2e-large-{CHECKOUT}:1") == ""
    assert site.image_id("mine:1") == large[1]
    assert site.image_id(f"e2e-router-{CHECKOUT}:1") == newest
    assert site.image_id(first) == first
    assert json.loads(site.atelier("prune", "--json").stdout)["images"] == []
    assert site.announced("-y") == []
    site.host.run("docker rm foreign")


def test_a_host_without_room_is_refused_with_figures(
    site: Site, router: dict[str, Any], large: tuple[Path, str]
) -> None:
    """Where archives are put is a disk of 10 MB."""
    own = {"archive": large[0].name, "reference": f"e2e-large-{CHECKOUT}:1"}
    site.host.run("mkdir -p /tiny && mount -t tmpfs -o size=10m tmpfs /tiny")
    images = {"llama-cpp": own, "litellm": router}
    site.declare(image_source="build", images=images, directory="/tiny")
    for flag in ("--dry", "-y"):
        result = site.run(flag)
        assert (result.status, result.steps) == (1, [])
        assert "10 MiB free on /tiny (directory)" in result.output
        assert "the largest archive of an image: " in result.output
    site.host.run("umount /tiny && rmdir /tiny")
    assert site.image_id(f"e2e-large-{CHECKOUT}:1") == ""


# a registry with TLS of its own authority, and a login


@dataclass(frozen=True)
class SecureRegistry:
    address: str
    ca: Path


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureRegistry]:
    """Two servers of the same files: one to push to, and one that is pulled from."""
    directory = tmp_path_factory.mktemp("secure-registry")
    for registry in run_registry(directory):
        make_image(f"e2e-pulled-{CHECKOUT}:1", MB)
        registry.push(f"e2e-pulled-{CHECKOUT}:1", "lab/pulled:1")
        forget(f"e2e-pulled-{CHECKOUT}:1")
        for served in run_registry(directory, tls=bridge(), login=("robot", PASSWORD)):
            yield SecureRegistry(served.address, directory / "ca.crt")


def pulled(router: dict[str, Any], secure: SecureRegistry, **registry: Any) -> dict[str, Any]:
    own = {"reference": f"{secure.address}/lab/pulled:1"}
    declared = [{"address": secure.address} | registry] if registry else []
    return {"images": {"litellm": router, "llama-cpp": own}, "registries": declared}


LOGIN: dict[str, Any] = {"username": "robot", "password": {"env": "E2E_REGISTRY_PASSWORD"}}


def test_a_registry_that_wants_more_is_explained(
    site: Site, router: dict[str, Any], secure: SecureRegistry
) -> None:
    ca: dict[str, Any] = {"ca": str(secure.ca)}
    site.environment["E2E_REGISTRY_PASSWORD"] = "wrong-password"
    for registry, fix in [
        ({}, f"declare registries=[Registry(address='{secure.address}', ca='ca.crt')]"),
        (ca, f"declare registries=[Registry(address='{secure.address}', username="),
        (ca | LOGIN, f"check username and password of Registry(address='{secure.address}')"),
    ]:
        site.declare(**pulled(router, secure, **registry))
        result = site.run("-y")
        assert result.status == 1
        assert fix in result.output, result.output
        assert "wrong-password" not in result.output
    assert not site.image_id(f"{secure.address}/lab/pulled:1")


WATCH = """
rm -f /tmp/seen /tmp/stop
while [ ! -f /tmp/stop ]; do
  cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ >>/tmp/seen 2>/dev/null
  find /run /dev/shm /tmp -path '*atelier-pull*' -printf '%m %u %y\\n' >>/tmp/modes 2>/dev/null
  sleep 0.01
done
"""


def test_a_login_is_on_the_host_only_while_it_pulls(
    site: Site, router: dict[str, Any], secure: SecureRegistry
) -> None:
    reference = f"{secure.address}/lab/pulled:1"
    certificate = f"/etc/docker/certs.d/{secure.address}/ca.crt"
    site.environment["E2E_REGISTRY_PASSWORD"] = PASSWORD
    site.declare(**pulled(router, secure, ca=str(secure.ca), **LOGIN))
    planned = site.announced("--dry")
    with started(["docker", "exec", site.host.name, "sh", "-c", WATCH]):
        result = site.run("-y", "-vvv")
        site.host.run("touch /tmp/stop")
    assert (result.status, result.steps) == (0, planned), result.output
    assert result.steps == [("pull", f"image {reference}")]
    assert site.image_id(reference)
    assert site.host.run(f"cat {certificate}") == secure.ca.read_text().strip()
    assert site.announced("-y") == []
    encoded = b64encode(f"robot:{PASSWORD}".encode()).decode()
    for secret in (PASSWORD, encoded):
        assert secret not in result.output
        places = "/tmp /root /home /run /dev/shm /etc /var/log /var/lib/atelier"
        assert site.host.run(f"grep -rlaF '{secret}' {places}", check=False) == ""
        assert site.host.run(f"journalctl --no-pager | grep -cF '{secret}'", check=False) == "0"
    # the watch saw the pull, and the folder that was for root alone
    assert site.host.run("grep -ac 'image.pull' /tmp/seen", check=False) != "0"
    modes = set(site.host.run("cat /tmp/modes").splitlines())
    assert modes <= {"700 root d", "600 root f"}
    assert modes


def test_a_certificate_that_was_edited_is_put_right(
    site: Site, router: dict[str, Any], secure: SecureRegistry
) -> None:
    path = f"/etc/docker/certs.d/{secure.address}/ca.crt"
    site.host.run(f"echo wrong >{path}")
    assert site.apply().steps == [("update", f"file {path}")]
    assert site.host.run(f"cat {path}") == secure.ca.read_text().strip()


# a host with no way out


def test_a_host_with_no_way_out_deploys_by_load_alone(site: Site) -> None:
    site.declare(image_source="build")
    saved = site.atelier("images", "--save", str(site.directory / "images"), "--json")
    assert saved.returncode == 0, saved.stderr
    names = [row["name"] for row in json.loads(saved.stdout)["images"]]
    folder = site.directory / "images"
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [*(f"{name}.tar.gz" for name in names), "SHA256SUMS"]
    )
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder, check=True)
    site.host.run("ip route del default; docker image prune --all --force")
    assert site.host.run("ip route show default") == ""
    tags = {make_build_plan(name, load_catalog()).tag for name in names}
    site.declare(image_source="load", image_archives="images")
    site.deploy_file = "deploy.py"
    planned = site.announced("--dry")
    assert {("load", f"image {tag}") for tag in tags} <= set(planned)
    assert site.announced("-y") == planned
    engine, url = f"{DEPLOYMENT}-llama-cpp-tiny-coder-0", f"http://{DEPLOYMENT}-litellm-0:4000"
    request = json.dumps({"model": "tiny-coder", "prompt": "def fib(n):", "max_tokens": 20})
    answer = site.host.run(
        f"docker exec -i {engine} curl -s {url}/v1/completions -H 'Content-Type: application/json' "
        f"-H 'Authorization: Bearer {MASTER_KEY}' -d @-",
        stdin=request,
    )
    assert json.loads(answer)["choices"][0]["text"]
    assert site.announced("-y") == []
