"""Docker, systemctl and what else scripts call on a host of the world; called by its name.

Its state is ``state.json`` in the directory WORLD_HOST. Every change is a line of ``changes`` in
the directory WORLD; after line WORLD_KILL the script that made it is killed, with all it has begun,
and so is the run. What was made from one of the words in the file ``sick`` never becomes healthy.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import sys
import time
from contextlib import contextmanager
from pathlib import Path

TYPE_CHECKING = False
"""A run calls this program a hundred times: it loads what it needs and nothing more."""
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, NoReturn

    Json = dict[str, Any]
    Words = list[str]

WORLD, HOST = Path(os.environ["WORLD"]), Path(os.environ["WORLD_HOST"])
LABEL = "io.atelier."
UNITS = HOST / "systemd"
OLLAMA = ".ollama/models/manifests/registry.ollama.ai/library"
ENGINES = {"llama-cpp", "ollama", "vllm"}
"""Services that fill their memory as they start."""
FLAGS = {"--read-only", "--quiet", "-i", "--rm", "--all", "--force", "--no-trunc", "--digests"}
"""Options of Docker without a value."""


def show(*lines: str) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)


def fail(message: str, status: int = 1) -> NoReturn:
    sys.stderr.write(f"Error: {message}\n")
    sys.exit(status)


def unknown() -> NoReturn:
    """Nothing is taken for granted: the test fails."""
    with (WORLD / "unknown").open("a") as file:
        file.write(json.dumps(sys.argv) + "\n")
    fail("the world does not know this", 64)


@contextmanager
def host_state() -> Iterator[Json]:
    """What the host has; kept if nothing fails."""
    with (HOST / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        path = HOST / "state.json"
        text = path.read_text() if path.exists() else "{}"
        state = json.loads(text)
        for kind in ("containers", "networks", "volumes", "images", "services"):
            state.setdefault(kind, {})
        yield state
        path.with_suffix(".new").write_text(json.dumps(state, indent=1))
        path.with_suffix(".new").rename(path)


def changed(what: str) -> None:
    """Write down what was changed; perhaps it was the last thing that this run did."""
    with (WORLD / "changes").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(f"{HOST.name} {what}\n")
        file.seek(0)
        count = len(file.readlines())
    if count == int(after := os.environ.get("WORLD_KILL", "0")):
        (WORLD / f"killed-{after}").touch()
        os.kill(0, signal.SIGKILL)


def split(arguments: Words) -> tuple[dict[str, Words], Words]:
    """Values of options by their name, and the other words."""
    options: dict[str, Words] = {}
    position = 0
    while position < len(arguments) and arguments[position].startswith("-"):
        name = arguments[position]
        options.setdefault(name, []).extend([] if name in FLAGS else [arguments[position + 1]])
        position += 1 if name in FLAGS else 2
    return options, arguments[position:]


def is_sick(text: str) -> bool:
    path = WORLD / "sick"
    return any(word in text for word in path.read_text().split()) if path.exists() else False


def obstacle(state: Json, name: str, holds: Json) -> str:
    """What keeps something from starting: ports and shares of GPUs that others have."""
    running = {
        other: each["labels"].get(f"{LABEL}holds")
        for other, each in state["containers"].items()
        if each["status"] == "running"
    }
    running |= {
        other: each["holds"] for other, each in state["services"].items() if each["running"]
    }
    others = {
        other: json.loads(label) for other, label in running.items() if label and other != name
    }
    for other, each in others.items():
        if common := {*holds["ports"]} & {*each["ports"]}:
            return f"driver failed: port {common} is already allocated to {other}"
    for index, share in holds["gpus"].items():
        total = share + sum(each["gpus"].get(index, 0) for each in others.values())
        if total > 1 + 1e-6:
            return f"GPU {index} has no room: {total:.2f} of its memory would be taken"
    return ""


def memory_obstacle(state: Json, service: str, wanted_bytes: int) -> str:
    """What keeps an engine from starting: memory of the host that others have."""
    taken = sum(c["memory"] for c in state["containers"].values() if c["status"] == "running")
    taken += sum(service_memory(each) for each in state["services"].values() if each["running"])
    has = int((HOST / "meminfo").read_text().split()[1]) * 1024
    if service in ENGINES and taken + wanted_bytes > has:
        return f"out of memory: {taken + wanted_bytes} bytes would be taken of {has}"
    return ""


# containers


def find(state: Json, name: str) -> Json:
    found: Json | None = state["containers"].get(name)
    if found is None:
        fail(f"No such container: {name}")
    return found


def create(state: Json, arguments: Words) -> str:
    options, (image, *_) = split(arguments)
    [name] = options["--name"]
    if name in state["containers"]:
        fail(f"The name {name} is already in use")
    if image not in {*state["images"], *state["images"].values()}:
        fail(f"No such image: {image}")
    for path in options.get("--env-file", ()):
        Path(path).read_text()
    mounts = [
        dict(part.split("=", 1) for part in mount.split(",") if "=" in part)
        for mount in options.get("--mount", ())
    ]
    for mount in mounts:
        if mount["type"] == "volume":
            # as Docker does, without a label
            state["volumes"].setdefault(mount["source"], "")
    ports: Json = {}
    for published in options.get("--publish", ()):
        address, port, inside = published.rsplit(":", 2)
        ports.setdefault(f"{inside}/tcp", []).append({"HostIp": address, "HostPort": port or "0"})
    state["containers"][name] = {
        "id": f"{time.time_ns():x}",
        "image": state["images"].get(image, image),
        "labels": dict(label.split("=", 1) for label in options.get("--label", ())),
        "ports": ports,
        "network": options.get("--network", ["bridge"])[0],
        "restart": options.get("--restart", ["no"])[0],
        "memory": int(options.get("--memory", ["0"])[0]),
        "binds": [each["source"] for each in mounts if each["type"] == "bind"],
        "volumes": {each["target"]: each["source"] for each in mounts if each["type"] == "volume"},
        "status": "created",
        "started": 0,
        "health": None,
    }
    return f"create {name}"


def start(state: Json, arguments: Words) -> str:
    [name] = arguments
    container = find(state, name)
    if container["status"] == "running":
        return f"start {name}"
    if name.endswith(".probe"):
        fail("exec: /atelier-probe: no such file or directory")
    if container["network"] not in {"host", "none", *state["networks"]}:
        fail(f"network {container['network']} not found")
    # models are said to be there
    own = [path for path in container["binds"] if "/deployments/" in path]
    if missing := [path for path in own if not Path(path).exists()]:
        fail(f"bind source path does not exist: {missing[0]}")
    label = container["labels"].get(f"{LABEL}holds", '{"ports": [], "gpus": {}}')
    published = {int(p["HostPort"]) for each in container["ports"].values() for p in each}
    holds = json.loads(label)
    if container["network"] != "host" and published != {*holds["ports"]}:
        fail(f"{name} publishes {published}, and holds {holds['ports']}")
    service = container["labels"].get(f"{LABEL}service", "")
    # one that was set aside is started for its models to be removed, and loads none
    loads = not name.endswith(".previous")
    if problem := loads and (
        obstacle(state, name, holds) or memory_obstacle(state, service, container["memory"])
    ):
        fail(problem)
    sick = is_sick(container["labels"].get(f"{LABEL}spec", ""))
    container["health"] = "unhealthy" if sick else "healthy"
    container |= {"status": "running", "started": time.time()}
    return f"start {name}"


def restart(state: Json, arguments: Words) -> str:
    find(state, arguments[0])["status"] = "exited"
    start(state, arguments)
    return f"restart {arguments[0]}"


def stop(state: Json, arguments: Words) -> str:
    for name in arguments:
        find(state, name)["status"] = "exited"
    return f"stop {' '.join(arguments)}"


def rename(state: Json, arguments: Words) -> str:
    old, new = arguments
    if new in state["containers"]:
        fail(f"The name {new} is already in use")
    find(state, old)
    state["containers"][new] = state["containers"].pop(old)
    return f"rename {old} {new}"


def remove(state: Json, arguments: Words) -> str:
    _, names = split(arguments)
    for name in names:
        find(state, name)
        del state["containers"][name]
    return f"rm {' '.join(names)}"


def update(state: Json, arguments: Words) -> str:
    options, (name,) = split(arguments)
    find(state, name)["restart"] = options["--restart"][0]
    return f"update {name}"


def kill(state: Json, arguments: Words) -> str:
    _, (name,) = split(arguments)
    if find(state, name)["status"] != "running":
        fail(f"container {name} is not running")
    return f"kill {name}"


def unpause(state: Json, arguments: Words) -> str:
    find(state, arguments[0])
    fail("not paused")


def described(name: str, container: Json) -> str:
    """What ``inspect`` says of what ``live_container`` reads."""
    started = time.strftime("%Y-%m-%dT%H:%M:%S.0Z", time.gmtime(container["started"]))
    health = {"Status": container["health"], "Log": []}
    return json.dumps(
        {
            "Name": f"/{name}",
            "Image": container["image"],
            "State": {
                "Status": container["status"],
                "StartedAt": started if container["started"] else "0001-01-01T00:00:00Z",
                "Health": health if container["status"] == "running" else None,
            },
            "HostConfig": {
                "RestartPolicy": {"Name": container["restart"]},
                "Memory": container["memory"],
            },
            "NetworkSettings": {"Networks": {container["network"]: {"IPAddress": "172.18.0.3"}}},
            "Config": {"Labels": container["labels"]},
        }
    )


def formatted(form: str, name: str, container: Json) -> str:
    """What a format makes of a container."""
    status, network = container["status"], container["network"]
    health = container["health"] if status == "running" else ""
    ports = len(container["ports"])
    if form.startswith("ports "):
        owner, holds = (container["labels"].get(f"{LABEL}{n}", "") for n in ("deployment", "holds"))
        rows = (json.dumps(container["ports"]), holds, described(name, container))
        kinds = ("ports", "holds", "container")
        return "\n".join(f"{kind} {owner} {row}" for kind, row in zip(kinds, rows, strict=True))
    known = {
        "{{.State.Status}} {{.RestartCount}} {{with .State.Health}}{{.Status}}{{end}}": (
            f"{status} 0 {health}"
        ),
        "{{len .HostConfig.PortBindings}} {{.HostConfig.NetworkMode}} {{.Image}}": (
            f"{ports} {network} {container['image']}"
        ),
        "{{len .HostConfig.PortBindings}}": str(ports),
        "{{.Id}}": container["id"],
        "{{.State.Running}}": "true" if status == "running" else "false",
        "{{.State.Status}}": status,
        "{{with .State.Health}}{{.Status}}{{end}}": health,
    }
    if form.startswith('{"Name"'):
        return described(name, container)
    return str(known[form]) if form in known else unknown()


def inspect(state: Json, arguments: Words) -> None:
    options, names = split(arguments)
    for name in names:
        container = find(state, name)
        show(*(formatted(form, name, container) for form in options.get("--format", ())))


def list_containers(state: Json, arguments: Words) -> None:
    options, _ = split(arguments)
    form, filters = options["--format"][0], dict(f.split("=", 1) for f in options["--filter"])
    for name, each in state["containers"].items():
        owner, service = (each["labels"].get(f"{LABEL}{n}", "") for n in ("deployment", "service"))
        if form.startswith("row ") and owner:
            show(f"row {name} {owner} {service}")
        elif "name" in filters and filters["name"] in name and filters["status"] == each["status"]:
            show(name)


# networks, volumes and images


def list_all(kind: str, state: Json, arguments: Words) -> None:
    options, known = split(arguments)[0], state[f"{kind}s"]
    if "--quiet" in options:
        [name] = options["--filter"]
        show(*(each for each in known if re.search(name.removeprefix("name="), each)))
    elif kind == "image":
        show(*(f"image {name} <none>@<none> {known[name]}" for name in known))
    else:
        show(*(f"{kind} {name} {owner}" for name, owner in known.items()))


def inspect_other(kind: str, state: Json, arguments: Words) -> None:
    options, (name,) = split(arguments)
    known = state[f"{kind}s"]
    if name not in {*known, *known.values()}:
        fail(f"No such {kind}: {name}")
    if "--format" in options:
        show(known.get(name, name))


def create_other(kind: str, state: Json, arguments: Words) -> str:
    options, (name,) = split(arguments)
    if name in state[f"{kind}s"]:
        fail(f"{kind} {name} is there already")
    state[f"{kind}s"][name] = options["--label"][0].split("=", 1)[1]
    return f"create {kind} {name}"


def remove_volume(state: Json, arguments: Words) -> str:
    [name] = arguments
    for user, each in state["containers"].items():
        if name in each["volumes"].values():
            fail(f"volume {name} is in use by {user}")
    del state["volumes"][name]
    return f"rm volume {name}"


def pull(state: Json, arguments: Words) -> str:
    _, (name,) = split(arguments)
    state["images"][name] = f"sha256:{name.encode().hex()}"
    return f"pull {name}"


# what runs in containers


def in_home(volume: str, command: Words) -> NoReturn:
    """Ollama's commands run here, with its volume as their home."""
    home = HOST / "volumes" / volume
    home.mkdir(parents=True, exist_ok=True)
    os.execvpe(command[0], command, os.environ | {"HOME": str(home)})  # noqa: S606


def home_of(name: str) -> str:
    with host_state() as state:
        container = find(state, name)
        if container["status"] != "running":
            fail(f"container {name} is not running")
        return next((v for t, v in container["volumes"].items() if "ollama" in t), "")


def execute(arguments: Words) -> int:
    _, (name, *command) = split(arguments)
    if home := home_of(name):
        in_home(home, command)
    if "show stat" in " ".join(command):
        show("any,another,,,0" + "," * 13 + "UP")
    return 0


def run_once(arguments: Words) -> int:
    options, (_, *command) = split(arguments)
    if options["--entrypoint"] != ["sh"]:
        return 0
    in_home(options["--volume"][0].split(":")[0], ["sh", *command])


def copy_out(arguments: Words) -> NoReturn:
    """A file of a container, as an archive."""
    name, _, path = arguments[0].partition(":")
    with host_state() as state:
        volumes = find(state, name)["volumes"].values()
    folders = [HOST / "volumes" / volume for volume in volumes]
    found = next((each for each in folders if (each / Path(path).name).exists()), None)
    if found is None:
        fail(f"Could not find the file {path}")
    os.execvp("tar", ["tar", "-c", "-C", str(found), Path(path).name])  # noqa: S606


def tell_version(_: Words) -> int:
    show("1.43")
    return 0


def tell_info(_: Words) -> int:
    facts = {"version": "24.0.5", "running": 3, "swarm": "inactive"}
    show(f"info 24.0.5|/var/lib/docker|{json.dumps(facts)}")
    return 0


ALONE: dict[str, Callable[[Words], int]] = {
    "cp": copy_out,
    "exec": execute,
    "info": tell_info,
    "run": run_once,
    "version": tell_version,
}
WITH_STATE: dict[tuple[str, str], Callable[[Json, Words], str | None]] = {
    ("container", "create"): create,
    ("container", "inspect"): inspect,
    ("container", "kill"): kill,
    ("container", "logs"): lambda _state, _arguments: None,
    ("container", "ls"): list_containers,
    ("container", "rename"): rename,
    ("container", "restart"): restart,
    ("container", "rm"): remove,
    ("container", "start"): start,
    ("container", "stop"): stop,
    ("container", "unpause"): unpause,
    ("container", "update"): update,
    ("image", "inspect"): lambda state, arguments: inspect_other("image", state, arguments),
    ("image", "ls"): lambda state, arguments: list_all("image", state, arguments),
    ("image", "pull"): pull,
    ("network", "create"): lambda state, arguments: create_other("network", state, arguments),
    ("network", "ls"): lambda state, arguments: list_all("network", state, arguments),
    ("volume", "create"): lambda state, arguments: create_other("volume", state, arguments),
    ("volume", "inspect"): lambda state, arguments: inspect_other("volume", state, arguments),
    ("volume", "ls"): lambda state, arguments: list_all("volume", state, arguments),
    ("volume", "rm"): remove_volume,
}


def docker(arguments: Words) -> int:
    what, *rest = arguments
    if what in ALONE:
        return ALONE[what](rest)
    verb, *more = rest
    if (what, verb) == ("container", "run"):
        return run_once(more)
    if (what, verb) == ("container", "wait"):
        # what ends goes on for as long as the test lasts
        return 1
    if more == ["--help"]:
        return 0
    if (what, verb) not in WITH_STATE:
        unknown()
    with host_state() as state:
        done = WITH_STATE[what, verb](state, more)
    if done:
        changed(done)
    return 0


# systemd


def systemctl(arguments: Words) -> int:
    verb, *rest = arguments
    name = next((word.removesuffix(".service") for word in rest if word.endswith(".service")), "")
    with host_state() as state:
        if verb == "daemon-reload":
            _reload(state["services"])
        service = state["services"].get(name)
        if verb == "show":
            _show(service, rest[rest.index("--property") + 1].split(","))
        if verb in {"daemon-reload", "show", "reset-failed"}:
            return 0
        if service is None:
            fail(f"Unit {name} not found.", 5)
        if verb == "enable":
            service["enabled"] = True
        elif verb == "disable":
            service |= {"enabled": False, "running": False}
        elif verb in {"start", "restart"}:
            service["running"] &= verb == "start"
            _start(state, name, service)
        else:
            unknown()
    changed(f"systemctl {verb} {name}")
    return 0


def _reload(services: Json) -> None:
    loaded = {path.stem: path.read_text() for path in UNITS.glob("[!.]*.service")}
    for name in [each for each in services if each not in loaded]:
        del services[name]
    for name, text in loaded.items():
        services.setdefault(name, {"running": False, "enabled": False, "holds": ""})["text"] = text


def _start(state: Json, name: str, service: Json) -> None:
    if service["running"]:
        return
    text = service["text"]
    said = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    holds = said["Holds"]
    if problem := (
        obstacle(state, name, json.loads(holds))
        or memory_obstacle(state, said["Service"], service_memory(service))
    ):
        fail(problem)
    service |= {"running": True, "holds": holds, "sick": is_sick(text), "started": time.time()}


def service_memory(service: Json) -> int:
    return int(re.findall(r"^MemoryMax=(\d+)$", service["text"], re.MULTILINE)[0])


def _show(service: Json | None, properties: Iterable[str]) -> None:
    runs = service if service and service["running"] else {}
    started = time.gmtime(runs["started"]) if runs else None
    values = {
        "ActiveState": "active" if runs else "inactive",
        "SubState": "running" if runs else "dead",
        "UnitFileState": "enabled" if service and service["enabled"] else "disabled",
        "ActiveEnterTimestamp": time.strftime("%a %F %T UTC", started) if started else "",
        "NRestarts": "4" if runs.get("sick") else "0",
        "MemoryCurrent": "1000",
    }
    show(*(f"{each}={values[each]}" for each in properties))


def curl(_: Words) -> int:
    """A service of this host, which is asked about its health alone."""
    with host_state() as state:
        return 22 if any(each.get("sick") for each in state["services"].values()) else 0


# Ollama


def _manifest(model: str) -> Path:
    """Where a model's manifest is, which says here what it was made from."""
    return Path(os.environ["HOME"], OLLAMA, *model.split(":"))


def ollama(arguments: Words) -> int:
    verb, *rest = arguments
    sources: dict[str, Callable[[], str]] = {
        "pull": lambda: "from the library",
        "create": lambda: Path(rest[2]).read_text(),
        "cp": lambda: _manifest(rest[0]).read_text(),
    }
    if verb in sources:
        path = _manifest(rest[1] if verb == "cp" else rest[0])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(sources[verb]())
    elif verb == "rm":
        _manifest(rest[0]).unlink()
    elif verb in {"run", "show"}:
        return 0 if _manifest(rest[0]).exists() else 1
    elif verb == "ps":
        made = Path(os.environ["HOME"], OLLAMA).glob("*/*")
        show("NAME ID", *(f"{each.parent.name}:{each.name} 0123" for each in made))
    if verb in {*sources, "rm"}:
        changed(f"ollama {' '.join(arguments)}")
    return 0


def sleep(_: Words) -> int:
    """Waiting is short in tests."""
    time.sleep(0.01)
    return 0


PROGRAMS: dict[str, Callable[[Words], int]] = {
    "curl": curl,
    "docker": docker,
    "journalctl": lambda _: 0,
    "ollama": ollama,
    "sleep": sleep,
    "systemctl": systemctl,
}


def main() -> NoReturn:
    sys.exit(PROGRAMS[sys.argv[1]](sys.argv[2:]))
