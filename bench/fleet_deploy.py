"""What a deployment does on a host before Docker is needed: look, a model file, a configuration."""

from __future__ import annotations

from pathlib import Path

from pyinfra import host
from pyinfra.api import operation

from bench.fleet_files import files
from deploy.facts import look
from deploy.facts.files import Contents, PathStates
from deploy.facts.host import Host
from deploy.facts.look import Question
from deploy.inventory import Declared
from deploy.operations import file_tree, model_file
from deploy.operations.commands import Commands
from deploy.operations.questions import model_paths
from deploy.secrets import SecretStore
from deploy.services import ConfigTree


@operation()
def looked_at() -> Commands:
    """What a deployment asks of a host first has been asked."""
    look.ask(Host, **HOST)
    return
    yield


HOST = {"deployment": "bench", "directory": "/var/lib/atelier"}
NO_SECRETS = SecretStore(Path("none.yaml"), {})


@operation()
def configured(tree: ConfigTree) -> Commands:
    """The files are on the host."""
    wanted = contents(tree)
    if look.ask(Contents, paths=list(wanted)) != wanted:
        yield from file_tree.write(tree, NO_SECRETS)


def contents(tree: ConfigTree) -> dict[str, str]:
    """Text of the files by their paths."""
    directory = tree.directory
    return {str(directory / name): str(file.content) for name, file in tree.files.items()}


declared = host.data.get("atelier")
assert isinstance(declared, Declared)  # noqa: S101 - bench/fleet.py writes the inventory
place = next(item.directory for item in declared.spec.hosts if item.name == host.name)
model, tree = files(declared.directory)
model = model.model_copy(
    update={"path": place / "models" / model.source.sha256 / "model.gguf"},
)
tree = tree.model_copy(update={"root": place / "config"})

look.will_ask(
    [
        Question.of(Host, **HOST),
        Question.of(PathStates, paths=model_paths(model)),
        Question.of(Contents, paths=list(contents(tree))),
    ]
)
looked_at(name="Look at the host")
model_file.present(name="Copy the model file", file=model)
configured(name="Configure the router", tree=tree)
