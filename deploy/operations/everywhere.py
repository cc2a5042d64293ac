"""What is asked of every host before any of them goes on, and commands on other hosts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import gevent
from pyinfra.api.arguments import CONNECTOR_ARGUMENT_KEYS, pop_global_arguments
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.connectors.util import CommandOutput
from pyinfra.context import ctx_host, ctx_state

from deploy.operations.script import ScriptCommand

Answer = TypeVar("Answer")
_asked: WeakKeyDictionary[State, dict[Any, gevent.Greenlet[..., list[Any] | Exception]]] = (
    WeakKeyDictionary()
)


def ask_everywhere(ask: Callable[[], Answer]) -> list[Answer]:
    """The answers of all active hosts, in the order of the inventory; once in a run.

    The host that comes first asks for all of them: pyinfra prepares no more hosts at a time than
    ``--parallel`` allows, so that none may wait for one that has not begun.

    Args:
        ask: called for each host, at the same time, as pyinfra's current host.

    Raises:
        Exception: the first that ``ask`` raised, on every host.
    """
    state: State = ctx_state.get()
    asked = _asked.setdefault(state, {})
    if ask not in asked:
        asked[ask] = gevent.spawn(_ask_all, state, ask)
    answers = asked[ask].get()
    if isinstance(answers, Exception):
        raise answers
    return answers


def _ask_all(state: State, ask: Callable[[], Answer]) -> list[Answer] | Exception:
    active = state.inventory.get_active_hosts()
    hosts = [each for each in state.inventory if each in active]
    asking = [gevent.spawn(_ask, host, ask) for host in hosts]
    answers = {}
    for done in gevent.iwait(asking):
        answer = done.get()
        if isinstance(answer, Exception):
            return answer
        answers[done] = answer
    return [answers[each] for each in asking]


def _ask(host: Host, ask: Callable[[], Answer]) -> Answer | Exception:
    """The answer, or what was raised: gevent prints a traceback of what a greenlet raises."""
    # greenlets begin without pyinfra's current host
    try:
        with ctx_host.use(host):
            return ask()
    except Exception as error:
        return error


def run_on(
    name: str, command: ScriptCommand, state: State, host: Host, arguments: Any
) -> tuple[bool, CommandOutput] | None:
    """Run a command on any host of the run.

    Args:
        name: of the host.
        command: the command.
        state: pyinfra's.
        host: the one that is being changed.
        arguments: how commands are run there.

    Returns:
        Whether it succeeded, and what it printed; ``None`` where this run does not go.
    """
    if name == host.name:
        return command.execute(state, host, dict(arguments))
    other = state.inventory.get_host(name)
    if other not in state.active_hosts:
        return None
    given, _ = pop_global_arguments(state, other, {})
    own = {key: value for key, value in given.items() if key in CONNECTOR_ARGUMENT_KEYS}
    return command.execute(state, other, own)
