"""``atelier lock``: who is changing a deployment, and what to do about a run that is gone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, TypeGuard

import typer

from deploy.cli.options import InventoryArgument, JsonOption, Verb, YesOption
from deploy.cli.output import console, print_json
from deploy.errors import AtelierError, HostError

if TYPE_CHECKING:
    from deploy.lock import LockState
    from deploy.spec import HostSpec

lock = typer.Typer(
    name="lock",
    help="Show or release the locks of a deployment: one run at a time changes it.",
    no_args_is_help=True,
)


@lock.command(cls=Verb)
def status(inventory: InventoryArgument, as_json: JsonOption = False) -> None:
    """Show for each host which run has the lock, or had it last.

    Exit status 0 if it is free on every host, else 1. JSON: {"locks": [{"host", "lock", "run":
    {"who", "process", "since", "until", "doing", "reason", ...} or null, "error"}]}. "lock" is
    "free", "held", "cut" (free; the last run was killed or lost its connection, and the next one
    goes on from there) or "unreachable".
    """
    from deploy.cli.load import load_hosts

    deployment, hosts = load_hosts(inventory)
    rows = []
    for host, found in _read(deployment, hosts):
        rows.append(_row(host.name, found))
        if not as_json:
            console.print(f"{host.name}: {_text(rows[-1])}", markup=False, soft_wrap=True)
    if as_json:
        print_json({"locks": [{k: v for k, v in row.items() if k != "text"} for row in rows]})
    raise typer.Exit(0 if all(row["lock"] in {"free", "cut"} for row in rows) else 1)


@lock.command(cls=Verb)
def release(
    inventory: InventoryArgument,
    host: Annotated[
        str | None, typer.Option("--host", metavar="HOST", help="Release it on this host only.")
    ] = None,
    yes: YesOption = False,
) -> None:
    """Take the lock from a run that hangs, or whose machine is gone, after saying which.

    If that run still works, it ends before its next change. After a run that was killed, you
    need not release anything: the next run notices that and goes on. A host that cannot be asked
    does not keep the others from it.
    """
    from deploy.cli.load import load_hosts
    from deploy.live.lock import release_lock

    deployment, hosts = load_hosts(inventory, host)
    locks = list(_read(deployment, hosts))
    held = [(each, found.record) for each, found in locks if _is_held(found)]
    if held:
        for each, found in locks:
            said = f"{each.name}: {_text(_row(each.name, found))}"
            console.print(said, markup=False, soft_wrap=True)
        if not yes:
            typer.confirm("Release it?", abort=True)
    for each, record in held:
        release_lock(each, deployment, record.pid if record else 0)
        console.print(f"{each.name}: released", markup=False)
    errors = [found for _, found in locks if isinstance(found, AtelierError)]
    if errors:
        raise HostError(*(problem for error in errors for problem in error.problems))
    if not held:
        console.print("Nothing to release: no run has the lock.")


def _read(
    deployment: str, hosts: Iterable[HostSpec]
) -> Iterator[tuple[HostSpec, LockState | AtelierError]]:
    from deploy.live.lock import read_lock

    for host in hosts:
        try:
            yield host, read_lock(host, deployment)
        except AtelierError as error:
            yield host, error


def _is_held(found: LockState | AtelierError) -> TypeGuard[LockState]:
    return not isinstance(found, AtelierError) and found.lock == "held"


def _row(host: str, found: LockState | AtelierError) -> dict[str, Any]:
    from deploy.lock import describe

    if isinstance(found, AtelierError):
        return {"host": host, "lock": "unreachable", "run": None, "error": str(found)}
    run = asdict(found.record) if found.record else None
    kind = "cut" if found.was_cut else found.lock
    return {"host": host, "lock": kind, "run": run, "error": "", "text": describe(found)}


def _text(row: dict[str, Any]) -> str:
    match row["lock"]:
        case "held":
            return f"held by {row['text']}"
        case "cut":
            return f"free; the last run was killed or lost its connection: {row['text']}"
        case "free" if row["run"]:
            return f"free; the last run: {row['text']}"
        case "free":
            return "free"
        case _:
            return str(row["error"])
