"""What routers and the entry are told apart from their own settings."""

from __future__ import annotations

import hashlib
from pathlib import PurePosixPath

from pyinfra import host

from deploy.artefacts import Artefacts
from deploy.changes.change import Change, FieldChange
from deploy.facts import look
from deploy.facts.routing import Routing
from deploy.operations.change import announce
from deploy.operations.commands import Commands
from deploy.operations.drained import back_command
from deploy.operations.lock import changes_host
from deploy.operations.questions import routing_question
from deploy.operations.script import ScriptCommand
from deploy.services.routes import ENGINE_KEYS, LITELLM
from deploy.spec import SecretName

SCRIPT = "engine_keys.sh"
BEFORE, BOTH, NEW = "the one before", "the new one, then the one before", "the new one"


@changes_host
def prepared(artefacts: Artefacts) -> Commands:
    """Routers know the engines' key before an engine has it, and the one before until all have.

    Requests that a run which was killed has kept away from a unit come to it again.
    """
    found = look.ask(Routing, **routing_question(artefacts, host.name))
    left = {PurePosixPath(path) for path in found.draining}
    units = [
        (unit, unit.route)
        for unit in artefacts.stack.units
        if unit.route and unit.route.directory / unit.name in left
    ]
    for unit, route in units:
        announce(Change(f"requests to {unit.name}", "no longer keep away"))
        yield back_command(unit, route)
    router = artefacts.plan.router_of("litellm")
    # Aristote's consumers have the key in their environment
    reads_keys = router is not None and host.name == router.host
    if reads_keys and found.keys[:1] != (_digest(artefacts),):
        announce(_change(artefacts, BEFORE, BOTH, is_there=bool(found.keys)))
        yield _write("first", artefacts)


@changes_host
def settled(artefacts: Artefacts) -> Commands:
    """Routers know no other key than the one that all engines have now."""
    found = look.ask(Routing, **routing_question(artefacts, host.name))
    if found.keys and found.keys != (_digest(artefacts),):
        announce(_change(artefacts, BOTH, NEW, is_there=True))
        yield _write("only", artefacts)


def _path(artefacts: Artefacts) -> PurePosixPath:
    return artefacts.context.live_directory(host.name, LITELLM) / ENGINE_KEYS


def _digest(artefacts: Artefacts) -> str:
    key = artefacts.secrets.value(SecretName.ENGINE_API_KEY)
    return hashlib.sha256(key.encode()).hexdigest()


def _change(artefacts: Artefacts, old: str, new: str, *, is_there: bool) -> Change:
    resource = f"file {_path(artefacts)}"
    if not is_there:
        return Change(resource, "create")
    return Change(resource, "update", (FieldChange("engine_api_key", old, new),))


def _write(action: str, artefacts: Artefacts) -> ScriptCommand:
    return ScriptCommand(
        SCRIPT,
        *(action, str(_path(artefacts))),
        stdin=artefacts.secrets.value(SecretName.ENGINE_API_KEY) + "\n",
        redact=artefacts.secrets.redact,
        progress="writing down the engines' key",
    )
