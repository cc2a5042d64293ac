"""A deployment that answers."""

from __future__ import annotations

from pyinfra import host, state
from pyinfra.api import OperationError, operation
from pyinfra.api.output import format_text

from deploy.artefacts import Artefacts
from deploy.errors import AtelierError
from deploy.live.verify import verify
from deploy.operations.commands import Commands


@operation()
def answers(artefacts: Artefacts) -> Commands:
    """Every service answers for real; nothing is changed, and a dry run asks nothing."""
    if state.is_executing:
        _ask(artefacts)
    return
    yield


def _ask(artefacts: Artefacts) -> None:
    failed = []
    try:
        for check in verify(artefacts):
            mark = format_text("ok", fg="green") if check.ok else format_text("failed", fg="red")
            host.log(f"{check.name}: {mark} in {check.seconds:.2f} s, {check.detail}")
            if not check.ok:
                failed.append(check.name)
    except AtelierError as error:
        raise OperationError(str(error)) from None
    if failed:
        raise OperationError(f"deployed, but not working: {', '.join(failed)}")
