"""Facts: what their commands ask for, and what is made of the answers."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import subprocess
import sys
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api import FactBase

from deploy.facts.daemon import ENDPOINT, OWN_SOCKET, find_daemon
from deploy.facts.deployment import Belongings, Deployment
from deploy.facts.engine import Resources
from deploy.facts.files import Contents, PathState, PathStates
from deploy.facts.health import Health
from deploy.facts.host import ADDRESSES, Host
from deploy.facts.images import Images, ImagesState
from deploy.facts.known_secrets import look_at_known_secrets, parse_known_secrets
from deploy.facts.logins import Logins
from deploy.facts.look import Look
from deploy.facts.model_store import MadeModel, ModelStore
from deploy.facts.old_images import BroughtImage, OldImages
from deploy.facts.places import look_at_places, parse_places
from deploy.facts.programs import OldPrograms
from deploy.facts.sections import split_sections
from deploy.facts.units import FileState, Units, UnitsState
from deploy.hosts.state import Daemon, FileSystem, HostState
from deploy.secrets.fingerprint import FILE
from deploy.services import Holds
from deploy.services.unit import holds_of

FIXTURES = Path(__file__).parent / "fixtures"
LITELLM = "/var/lib/atelier/deployments/demo/config/litellm"
MEMORY = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
AWKWARD = "it's; touch broken #"


def read(name: str) -> list[str]:
    return (FIXTURES / name).read_text().splitlines()


@pytest.mark.parametrize(
    ("environment", "config", "endpoint"),
    [
        ({}, None, ""),
        ({}, '{"auths": {}}', ""),
        ({}, '{"currentContext": "prod"}', "ssh://prod"),
        ({"DOCKER_CONTEXT": "prod"}, None, "ssh://prod"),
        ({"DOCKER_CONTEXT": "prod", "DOCKER_HOST": "tcp://10.0.0.1"}, None, "tcp://10.0.0.1"),
    ],
)
def test_where_the_client_of_docker_goes(
    environment: dict[str, str], config: str | None, endpoint: str, tmp_path: Path
) -> None:
    docker = tmp_path / "docker"
    docker.write_text('#!/bin/sh\n[ "$1 $2" = "context inspect" ] && echo ssh://prod\n')
    docker.chmod(0o755)
    if config:
        (tmp_path / ".docker").mkdir()
        (tmp_path / ".docker/config.json").write_text(config)
    own = {"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": str(tmp_path)}
    asked = subprocess.run(
        ["sh", "-c", ENDPOINT], env=own | environment, capture_output=True, text=True, check=True
    )
    assert asked.stdout.strip() == endpoint


@pytest.mark.parametrize(("version", "is_asked"), [("3, 6", False), ("3, 7", True), ("", False)])
def test_only_a_python_that_knows_the_script_asks_for_logins(
    version: str, is_asked: bool, tmp_path: Path
) -> None:
    """RHEL 8 has 3.6, to which the script is a syntax error."""
    if version:
        python = tmp_path / "python3"
        own = f"import sys; sys.version_info = ({version}); exec(sys.argv.pop(1))"
        python.write_text(f"#!/bin/sh\nshift; exec {sys.executable} -c '{own}' \"$@\"\n")
        python.chmod(0o755)
    asked = subprocess.run(
        ["/bin/sh", "-c", Logins().command()],
        input="{}",
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (asked.returncode, asked.stdout) == (0, "{}\n" if is_asked else "")


def test_units() -> None:
    state = Units().process(read("units.txt"))
    assert sorted(state.containers) == ["demo-litellm-0", "demo-litellm-0.next"]
    live = state.containers["demo-litellm-0"]
    assert live.image_id == "sha256:0d5d3c1e9a"
    assert (live.state, live.health, live.restart) == ("running", "healthy", "unless-stopped")
    assert live.started_at == datetime(2025, 3, 1, 10, 20, 30, tzinfo=UTC).timestamp()
    assert (live.memory_bytes, live.networks) == (2147483648, ("demo",))
    assert (live.deployment, live.service) == ("demo", "litellm")
    assert live.spec == {"name": "demo-litellm-0", "image": "litellm:v1"}
    assert live.holds == Holds(ports=frozenset({4000}), gpus={0: 0.75})
    assert state.image_id("litellm:v1") == "sha256:0d5d3c1e9a"
    assert state.image_id("registry.lab:5000/x@sha256:77") == "sha256:0d5d3c1e9b"
    assert state.image_id("other:1") is None
    assert state.changed_at == {f"{LITELLM}/0123456789abcdef": 1740824400, f"{LITELLM}/fedc": 5}
    assert state.releases == {
        f"{LITELLM}/0123456789abcdef": {
            "config.yaml": FileState(
                0o644, "b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c"
            )
        },
        f"{LITELLM}/fedc": {
            "sub/two words.yaml": FileState(
                0o600, "7d865e959b2466918c9863afca942d0fb89d7c9ac0c99bafc3749504ded97730"
            )
        },
    }
    assert state.other_models == (("demo-ollama-b-0", "b:latest"),)


def test_files_of_a_clock_that_was_ahead() -> None:
    """They would look newer than whatever starts until that time comes: it would start each run."""
    rows = ["@directories", "1000_/a", "1001_/b", "90000_/c"]
    known = Units().process([*rows, "@now", "1000"]).changed_at
    assert known == {"/a": 1000, "/b": 1001}
    assert set(Units().process(rows).changed_at) == {"/a", "/b", "/c"}


def test_a_container_that_never_ran_and_is_not_ours() -> None:
    live = Units().process(read("units.txt")).containers["demo-litellm-0.next"]
    assert (live.state, live.health, live.started_at) == ("created", None, 0)
    assert (live.deployment, live.spec, live.networks) == (None, None, ())
    assert live.holds == Holds()


def test_how_long_ago_one_has_ended() -> None:
    [row] = [line for line in read("units.txt") if '"/demo-litellm-0"' in line]
    ended = row.replace('"running"', '"exited","FinishedAt":"2025-03-01T10:21:00.5Z"')
    now = datetime(2025, 3, 1, 10, 21, 7, tzinfo=UTC).timestamp()
    for said, ago in ((ended, 7.0), (row, inf)):
        state = Units().process(["@now", f"{now:.0f}", "@containers", said])
        assert state.containers["demo-litellm-0"].ended_seconds_ago == ago


def test_containers_of_older_releases_hold_their_ports_and_whole_gpus() -> None:
    spec = {"ports": [{"host_port": 8000}], "gpus": [0, 1], "memory_bytes": 5}
    whole = {0: 1.0, 1: 1.0}
    assert holds_of(None, spec) == Holds(ports=frozenset({8000}), gpus=whole, memory_bytes=5)


def test_what_runs_holds_the_memory_of_its_description_and_its_label_stays_as_it_was() -> None:
    """A label that changed would have services of systemd and of Macs replaced."""
    holds = Holds(ports=frozenset({8000}), gpus={1: 0.5}, memory_bytes=7)
    assert holds.to_label() == '{"gpus":{"1":0.5},"ports":[8000]}'
    assert holds_of(json.loads(holds.to_label()), {"memory_bytes": 7}) == holds
    assert holds_of(None, None) == Holds()


def test_a_deployment_of_which_there_is_nothing() -> None:
    assert Units().process(["@containers", "@images", "@models"]) == UnitsState()


def test_deployment() -> None:
    assert Deployment().process(read("deployment.txt")) == Belongings(
        containers=("demo-litellm-0", "demo-llama-cpp-tiny-coder-0"),
        services=("demo-llama-cpp-m2-0",),
        kinds=(
            "demo-litellm-0 litellm",
            "demo-llama-cpp-m2-0 llama-cpp",
            "demo-llama-cpp-tiny-coder-0 llama-cpp",
        ),
        networks=("demo",),
        volumes=("demo-open-webui",),
        releases=(
            "/var/lib/atelier/deployments/demo/config/litellm/0123456789abcdef",
            "/var/lib/atelier/deployments/demo/config/litellm/fedcba9876543210",
        ),
        directory=("/var/lib/atelier/deployments/demo",),
    )


def test_models_of_engines_that_keep_them() -> None:
    digest = "27801df173db0971f9a13e2c9414ddbec9dce232d88c867d075eaa9b46a21e2c"
    state = Units().process(
        [
            *("@containers", "@store demo-ollama-a-0", "@record"),
            f"tiny-fim:latest ae5cdcc84da9ada5-d2926c39 {digest}",
            "old:latest - -",
            "@manifests",
            f"{digest}  ./registry.ollama.ai/library/tiny-fim/latest",
            "@loaded",
            "NAME               ID              SIZE      PROCESSOR    CONTEXT    UNTIL   ",
            "tiny-fim:latest    27801df173db    8.3 MB    100% CPU     2048       Forever    ",
            *("@store demo-ollama-b-0", "@record", "b:latest - -"),
        ]
    )
    assert state.stores == {
        "demo-ollama-a-0": ModelStore(
            made={
                "tiny-fim:latest": MadeModel("ae5cdcc84da9ada5-d2926c39", digest),
                "old:latest": MadeModel("-", "-"),
            },
            digests={"registry.ollama.ai/library/tiny-fim/latest": digest},
            loaded=frozenset(["tiny-fim:latest"]),
        ),
        "demo-ollama-b-0": ModelStore(made={"b:latest": MadeModel("-", "-")}),
    }


def test_host() -> None:
    assert Host().process(read("host.txt")) == HostState(
        engine_version="20.10.24+dfsg1",
        engine_error="",
        memory_bytes=33524700000,
        file_systems={
            "directory": FileSystem("/", "65025", 1073741824, 1000),
            "images": FileSystem("/var/lib/docker", "65026", 52428800000, None),
            "volumes": FileSystem("/mnt/two words", "65027", 52428800000, None, is_read_only=True),
            "temporary files": FileSystem("/tmp", "35", 1048576, 4000, is_writable=False),
        },
        blocked_by="/srv/atelier",
        file_sizes={"/srv/models/0123/x.gguf.part": 1234},
        daemon=Daemon(
            operating_system="Debian GNU/Linux 12 (bookworm)",
            root="/var/lib/docker",
            maps_users=True,
            pools=(("10.200.0.0/16", 24),),
            subnets=("172.17.0.0/16", "10.200.0.0/24", "fd00::/64"),
            routes=("10.8.0.0/24", "172.17.0.0/16"),
            volumes=frozenset({"demo-open-webui"}),
        ),
        images=frozenset({"litellm:v1", "registry.lab:5000/x:1"}),
        listening_ports=frozenset({22, 4000, 3000}),
        own_ports=frozenset({4000}),
        addresses=frozenset({"10.0.0.11", "127.0.0.1", "fd00::2"}),
    )


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ('{"fingerprint": "f", "secrets": []}', '{"fingerprint": "f", "secrets": []}'),
        # of a host that lost its power
        ("", ""),
        ('{"fingerprint": "f", "sec', ""),
        ("\0" * 40, ""),
        (None, ""),
    ],
)
def test_secrets_that_a_host_knows(written: str | None, text: str, tmp_path: Path) -> None:
    """Without its file, the containers say them."""
    spec = {"secret_env": {"KEY": "digest"}}
    docker = tmp_path / "docker"
    docker.write_text(f"#!/bin/sh\n[ \"$2\" = ls ] && echo 0123 || echo '{json.dumps(spec)}'\n")
    docker.chmod(0o755)
    if written is not None:
        (tmp_path / FILE).write_text(f"{written}\n" if written else "")
    said = subprocess.run(
        ["sh", "-c", look_at_known_secrets("demo", str(tmp_path))],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    known = parse_known_secrets(split_sections(said.stdout.splitlines()))
    assert (known.text, known.digests) == (text, frozenset() if text else {"digest"})


CONTAINERD_STORE = '"driver":[["driver-type","io.containerd.snapshotter.v1"]]'


@pytest.mark.parametrize(
    ("info", "settings", "images"),
    [
        ("", None, "/data/docker"),
        (CONTAINERD_STORE, None, "/data/docker/containerd/daemon"),
        (CONTAINERD_STORE, "", "/var/lib/containerd"),
        (CONTAINERD_STORE, 'version = 2\n[debug]\nroot = "/x"\n', "/var/lib/containerd"),
        (CONTAINERD_STORE, "root = '/big disk/containerd' # moved\n", "/big disk/containerd"),
        (CONTAINERD_STORE, 'root="/big"\nstate = "/run/containerd"\n', "/big"),
        (f'{CONTAINERD_STORE},"name=rootless"', 'root="/big"', "/data/docker/containerd/daemon"),
    ],
)
def test_where_images_are_kept(
    info: str, settings: str | None, images: str, tmp_path: Path
) -> None:
    """Docker's daemon uses the containerd of the host, where that runs, or starts its own."""
    command = "; ".join([*find_daemon("/var/lib/docker"), 'echo "$images"'])
    for path in (OWN_SOCKET, "/etc/containerd/config.toml"):
        command = command.replace(path, f"{tmp_path}/{Path(path).name}")
    if settings is not None:
        (tmp_path / "config.toml").write_text(settings)
        with socket.socket(socket.AF_UNIX) as listener, contextlib.chdir(tmp_path):
            listener.bind(Path(OWN_SOCKET).name)
    own = {"atelier_info": f"29.1.0|/data/docker|{{{info}}}", "PATH": os.environ["PATH"]}
    said = subprocess.run(
        ["sh", "-euc", command], env=own, capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == images


@pytest.mark.parametrize(
    ("kernel", "own", "other"),
    [
        ("6.1.0-31-amd64", "6.1.0-31-amd64", ""),
        ("6.6.87.2-linuxkit", "6.1.0-31-amd64", "6.6.87.2-linuxkit"),
        ("6.1.0-31-amd64", "", ""),
        ("", "6.1.0-31-amd64", ""),
    ],
)
def test_a_daemon_on_another_kernel(kernel: str, own: str, other: str) -> None:
    info = json.dumps(
        {"kernel": kernel, "driver": [["driver-type", "io.containerd.snapshotter.v1"]]}
    )
    daemon = Host().process(["@engine", "29.1.0", "@info", info, "@kernel_of_host", own]).daemon
    assert (daemon.other_kernel, daemon.has_containerd_images) == (other, True)


def test_addresses_of_a_real_machine() -> None:
    printed = subprocess.run(["sh", "-c", ADDRESSES], capture_output=True, text=True, check=True)
    found = Host().process(["@engine", "@addresses", *printed.stdout.splitlines()]).addresses
    assert "127.0.0.1" in found


def test_a_host_without_docker() -> None:
    state = Host().process(read("host_without_docker.txt"))
    assert state.engine_version is None
    assert state.engine_error == "docker: not found"
    assert state.memory_bytes == 33524700000
    assert state.daemon == Daemon()
    assert state.file_systems["images"].mount == "/"


def test_places_of_a_real_machine(bare_path: Path, tmp_path: Path) -> None:
    """A directory that is not there yet is looked at where it will be made."""
    (tmp_path / "file").write_text("12345")
    command = Host().command(
        deployment="x",
        directory=f"{tmp_path}/it's/not there",
        files=[f"{tmp_path}/file", f"{tmp_path}/none"],
    )
    state = Host().process(run(command, bare_path, tmp_path).stdout.splitlines())
    place = state.file_systems["directory"]
    found = os.statvfs(tmp_path)
    assert abs(place.free_bytes - found.f_bavail * found.f_frsize) < 1024**3
    assert (place.device, place.is_writable) == (str(tmp_path.stat().st_dev), True)
    assert (state.blocked_by, state.file_sizes) == ("", {f"{tmp_path}/file": 5})
    blocked = Host().command(deployment="x", directory=f"{tmp_path}/file/atelier")
    lines = run(blocked, bare_path, tmp_path).stdout.splitlines()
    assert Host().process(lines).blocked_by == f"{tmp_path}/file"


def test_what_shares_its_space_with_others(bare_path: Path, tmp_path: Path) -> None:
    """Subvolumes of btrfs and datasets of ZFS, of which each is a device of its own."""
    mounts = {
        "/": "/dev/sda2 / btrfs rw,subvol=/root",
        "/docker": "/dev/sda2 /docker btrfs rw,subvol=/docker",
        "/tank": "tank/data/x /tank zfs ro,xattr",
        "/home": "nas:/export/home /home nfs4 rw",
    }
    (tmp_path / "mounts").write_text("".join(f"{line} 0 0\n" for line in mounts.values()))
    rows = "\n".join(["Avail Inodes IFree Mounted on", *(f"5000 - - {at}" for at in mounts)])
    for name, said in {"df": rows, "stat": "41\n42\n43\n44"}.items():
        (bare_path / name).unlink()
        (bare_path / name).write_text(f"#!/bin/sh\ncat <<'.'\n{said}\n.\n")
        (bare_path / name).chmod(0o755)
    looking = look_at_places(directory="/", images="/", volumes="/")
    command = "; ".join(looking).replace("/proc/mounts", f"{tmp_path}/mounts")
    found = parse_places(split_sections(run(command, bare_path, tmp_path).stdout.splitlines()))
    assert [(each.device, each.pool, each.is_read_only) for each in found.values()] == [
        ("41", "btrfs=/dev/sda2", False),
        ("42", "btrfs=/dev/sda2", False),
        ("43", "zfs=tank", True),
        ("44", "nfs4=nas:/export/home", False),
    ]


def test_a_place_that_says_nothing_takes_no_others_with_it(bare_path: Path, tmp_path: Path) -> None:
    """df leaves its row out; the rows of the others must not move up."""
    (bare_path / "df").unlink()
    (bare_path / "df").write_text(
        "#!/bin/sh\n"
        'for word; do shift; [ "$word" = /tmp/ ] || set -- "$@" "$word"; done\n'
        '[ "$#" -le 3 ] || exec /usr/bin/df "$@"\n'
        "exit 1\n"
    )
    (bare_path / "df").chmod(0o755)
    command = Host().command(deployment="x", directory="/proc/x", docker_root=str(tmp_path))
    found = Host().process(run(command, bare_path, tmp_path).stdout.splitlines()).file_systems
    assert set(found) == {"directory", "images", "volumes"}
    assert found["directory"].mount == "/proc"
    assert found["images"].device == str(tmp_path.stat().st_dev)


def test_images() -> None:
    record = ["@record", "litellm:v1 sha256:aa 0123", "x:v1 sha256:bb"]
    files = ["@files", "4567  /etc/docker/certs.d/registry.lab/ca.crt"]
    images = ["@images", "litellm:v1 sha256:aa", "registry.lab:5000/x@sha256:1 sha256:bb"]
    assert Images().process([*record, *files, *images]) == ImagesState(
        ids={"litellm:v1": "sha256:aa", "registry.lab:5000/x@sha256:1": "sha256:bb"},
        loaded=frozenset({("sha256:aa", "0123")}),
        digests={"/etc/docker/certs.d/registry.lab/ca.crt": "4567"},
    )


def test_old_images() -> None:
    found = OldImages().process(
        [
            *("@record", "x:1 sha256:a", "x:2 sha256:b 0123", "x:2 sha256:b", "x:3 sha256:gone"),
            *("x:4 sha256:d", "@others", "y:1 sha256:d", "@containers", "sha256:a", "sha256:z"),
            *("@images", "sha256:a 1000 ", "sha256:b 2000 x:2 y:2", "sha256:d 3000 x:4"),
        ]
    )
    assert found == (
        BroughtImage("x:1", "sha256:a", 1000, (), is_used=True),
        BroughtImage("x:2", "sha256:b", 2000, ("x:2", "y:2"), is_used=False),
        BroughtImage("x:4", "sha256:d", 3000, ("x:4",), is_used=True),
    )


def test_resources() -> None:
    rows = ["network demo demo", "", "volume data "]
    assert Resources().process(rows) == {"network demo": "demo", "volume data": ""}


def test_contents() -> None:
    encoded = base64.b64encode("é: 1\n".encode()).decode()
    assert Contents().process(["/etc/x", encoded]) == {"/etc/x": "é: 1\n"}


def test_path_states() -> None:
    assert PathStates().process(["1234 640 /x/two words", "4096 2755 /x"]) == {
        "/x/two words": PathState(1234, 0o640),
        "/x": PathState(4096, 0o2755),
    }


FACTS: list[tuple[FactBase[Any], dict[str, Any], Any]] = [
    (
        Units(),
        {
            "deployment": "x",
            "directory": "/none/x",
            "names": ("x-0",),
            "stores": (("x-0", "v", "i:1", "/h"),),
        },
        UnitsState(memory_bytes=MEMORY),
    ),
    (
        Units(),
        {"deployment": "x", "directory": "/none/x", "names": ()},
        UnitsState(memory_bytes=MEMORY),
    ),
    (Deployment(), {"deployment": "x", "directory": "/none"}, Belongings()),
    (Images(), {"record": "/none/x", "files": []}, ImagesState()),
    (Resources(), {}, {}),
    (OldImages(), {"record": "/none/images.list"}, ()),
    (OldPrograms(), {"directory": "/none/programs"}, ()),
    (Contents(), {"paths": ["/none/x"]}, {}),
    (PathStates(), {"paths": ["/none/x"]}, {}),
]
AWKWARD_FACTS: list[tuple[FactBase[Any], dict[str, Any]]] = [
    (
        Units(),
        {
            "deployment": AWKWARD,
            "directory": AWKWARD,
            "names": (AWKWARD,),
            "stores": ((AWKWARD, AWKWARD, AWKWARD, AWKWARD),),
        },
    ),
    (Deployment(), {"deployment": AWKWARD, "directory": AWKWARD}),
    (Images(), {"record": AWKWARD, "files": [AWKWARD]}),
    (Contents(), {"paths": [AWKWARD]}),
    (PathStates(), {"paths": [AWKWARD]}),
    (
        Host(),
        {
            **{"deployment": AWKWARD, "directory": AWKWARD, "docker_root": AWKWARD},
            **{"files": [AWKWARD]},
        },
    ),
    (OldImages(), {"record": AWKWARD}),
    (OldPrograms(), {"directory": AWKWARD}),
]


def name_of(value: Any) -> str:
    return type(value).__name__ if isinstance(value, FactBase) else ""


@pytest.fixture
def bare_path(tmp_path: Path) -> Path:
    """A search path with a shell's own tools and no docker."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in (
        "sh",
        "uname",
        "tr",
        "stat",
        "find",
        "sha256sum",
        "base64",
        "cat",
        "awk",
        "df",
        "tail",
        "grep",
        "sed",
    ):
        (folder / tool).symlink_to(f"/usr/bin/{tool}")
    return folder


def run(command: str, path: Path | str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", "-c", command], env={"PATH": str(path)}, cwd=cwd, capture_output=True, text=True
    )


@pytest.mark.parametrize(("fact", "arguments", "nothing"), FACTS, ids=name_of)
def test_a_bare_machine_has_nothing(
    fact: FactBase[Any], arguments: dict[str, Any], nothing: Any, bare_path: Path, tmp_path: Path
) -> None:
    """The command really runs: no docker, no files, and still an exit status of 0."""
    result = run(str(fact.command(**arguments)), bare_path, tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    output = result.stdout.splitlines()
    assert (fact.process(output) if output else fact.default()) == nothing


def test_a_bare_machine_says_why_there_is_no_engine(bare_path: Path, tmp_path: Path) -> None:
    result = run(Host().command(deployment="x", directory="/none/x"), bare_path, tmp_path)
    state = Host().process(result.stdout.splitlines())
    assert state.engine_version is None
    assert "not found" in state.engine_error
    assert state.memory_bytes > 1024**3
    assert state.file_systems["directory"].free_bytes > 0


@pytest.mark.parametrize(("fact", "arguments"), AWKWARD_FACTS, ids=name_of)
def test_names_are_quoted(
    fact: FactBase[Any], arguments: dict[str, Any], bare_path: Path, tmp_path: Path
) -> None:
    docker = bare_path / "docker"
    docker.write_text("#!/bin/sh\nexit 0\n")
    docker.chmod(0o755)
    (bare_path / "touch").symlink_to("/usr/bin/touch")
    result = run(str(fact.command(**arguments)), bare_path, tmp_path)
    assert result.returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["bin"]


@pytest.mark.parametrize(("fact", "arguments"), AWKWARD_FACTS, ids=name_of)
def test_no_fact_asks_for_the_environment(fact: FactBase[Any], arguments: dict[str, Any]) -> None:
    command = str(fact.command(**arguments))
    assert ".Config.Env" not in command
    # nor for everything, which the environment is a part of
    for whole in ("json .}}", "json .Config}}", "container inspect $"):
        assert whole not in command


def test_real_files_are_found(bare_path: Path, tmp_path: Path) -> None:
    release = tmp_path / "config" / "litellm" / "0123"
    release.mkdir(parents=True)
    file = release / "config.yaml"
    file.write_text("foo\n")
    file.chmod(0o640)
    keys = tmp_path / "live" / "litellm" / "engine_keys"
    keys.parent.mkdir(parents=True)
    keys.write_text("sk-1\n")
    command = Units().command(deployment="x", directory=str(tmp_path), names=())
    state = Units().process(run(command, bare_path, tmp_path).stdout.splitlines())
    # printf 'foo\n' | sha256sum
    digest = "b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c"
    assert state.releases == {str(release): {"config.yaml": FileState(0o640, digest)}}
    assert state.told == (str(keys.parent),)
    assert abs(state.changed_at[str(release)] - datetime.now(UTC).timestamp()) < 60
    contents = run(Contents().command(paths=[str(file)]), bare_path, tmp_path).stdout.splitlines()
    assert Contents().process(contents) == {str(file): "foo\n"}
    states = PathStates().command(paths=[str(file), str(release / "none")])
    found = PathStates().process(run(states, bare_path, tmp_path).stdout.splitlines())
    assert found == {str(file): PathState(4, 0o640)}
    owned = run(Deployment().command("x", str(tmp_path)), bare_path, tmp_path).stdout.splitlines()
    assert str(release) in owned


def test_health_carries_the_script_and_never_fails() -> None:
    command = str(Health().command(container="x-0", timeout_seconds=5))
    assert command.startswith("sh -c ")
    assert command.endswith(" atelier wait x-0 5 || true")


@pytest.mark.parametrize(("fact", "arguments", "nothing"), FACTS, ids=name_of)
def test_a_host_whose_docker_does_not_answer_has_nothing(
    fact: FactBase[Any], arguments: dict[str, Any], nothing: Any, bare_path: Path, tmp_path: Path
) -> None:
    """It is started later: what is to be known of it must not keep a run from that."""
    docker = bare_path / "docker"
    docker.write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2\nexit 1\n")
    docker.chmod(0o755)
    command = Look().command((str(fact.command(**arguments)),))
    result = run(command, bare_path, tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    lines = Look().process(result.stdout.splitlines())[0]
    answer = fact.process(lines) if lines else fact.default()
    if isinstance(fact, Deployment):
        nothing = Belongings(unanswering_engine=("yes",))
    assert answer == nothing


@pytest.mark.parametrize(
    ("said", "security", "forwards", "is_rootless"),
    [
        ("0", "", False, False),
        ("1", "", True, False),
        ("0", '"name=seccomp","name=rootless"', False, True),
        ("", "", True, False),
    ],
)
def test_the_network_of_dockers_containers(
    said: str, security: str, forwards: bool, is_rootless: bool
) -> None:
    rows = ["@info", f'{{"security":[{security}]}}', "@forwarding", *([said] if said else [])]
    daemon = Host().process(["@engine", "24.0.5", *rows]).daemon
    assert (daemon.forwards, daemon.is_rootless) == (forwards, is_rootless)
