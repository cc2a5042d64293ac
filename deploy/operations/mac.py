"""A Mac that serves: it does not sleep, its GPU has the declared memory, its logs stay small."""

from __future__ import annotations

from pyinfra import host

from deploy.facts import look
from deploy.facts.mac import Mac
from deploy.hosts.mac.setup import mac_setup
from deploy.operations.change import announce_all
from deploy.operations.commands import Commands
from deploy.operations.lock import changes_host
from deploy.operations.questions import mac_question
from deploy.operations.script import ScriptCommand
from deploy.spec import HostSpec

SCRIPT = "mac.sh"


@changes_host
def set_up(spec: HostSpec) -> Commands:
    """The Mac's settings are as declared, now and whenever it starts.

    Args:
        spec: the host as declared.
    """
    steps = mac_setup(spec, look.ask(Mac, **mac_question(spec)))
    announce_all(step.change for step in steps)
    for step in steps:
        yield ScriptCommand(SCRIPT, *step.arguments, redact=str, progress="setting up the Mac")
    if not steps:
        host.noop("the Mac is set up as declared")
