"""``atelier load``: people who are made up ask a deployment, and what they met.

The module that reads an inventory for all verbs is called ``load``, and so this one is not.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli.options import InventoryArgument, JsonOption, PageOption, YesOption
from deploy.cli.output import error_console, print_json
from deploy.live.load.workload import Choice

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from deploy.artefacts import Artefacts
    from deploy.live.load.figures import Part
    from deploy.live.load.report import LoadReport
    from deploy.live.load.sample import Sample
    from deploy.live.load.session import Measured
    from deploy.live.load.target import Target
    from deploy.plan.deployment_plan import DeploymentPlan

INTERRUPTED = 130


def load(  # noqa: PLR0913, PLR0917  one parameter per option
    inventory: InventoryArgument,
    users: Annotated[int, typer.Option(help="How many people ask.")],
    minutes: Annotated[float, typer.Option(help="For how long.")] = 2.0,
    use: Annotated[Choice, typer.Option(help="What they do.")] = Choice.BOTH,
    model: Annotated[
        str | None,
        typer.Option(help="The model that they ask; by default the one that is made for it."),
    ] = None,
    key_env: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Environment variable with the key that they ask with, e.g. a person's; the"
            " master key by default.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="With the same seed the requests are the same.")] = 0,
    html: PageOption = None,
    as_json: JsonOption = False,
    yes: YesOption = False,
) -> None:
    """Let simulated people use a deployment, and compare the speed with what the plan promises.

    Requests go where people's requests go. This is real load: people who work there meanwhile
    wait longer. Ctrl-C ends it, and shows what was measured until then. Exit status 1 if nothing
    was answered. See docs/load.md for the JSON.
    """
    from deploy.cli.load import load_artefacts
    from deploy.errors import PlanError, Problem
    from deploy.live.load.parts import asked_router, choose_parts, require_sensible
    from deploy.live.load.target import open_target

    require_sensible(users, minutes)
    if html is not None and not html.parent.is_dir():
        raise PlanError(Problem("--html", str(html), "a file in a directory that is there"))
    artefacts = load_artefacts(inventory)
    parts = choose_parts(artefacts, _planned(inventory, artefacts, users), users, use, model)
    router = asked_router(artefacts, parts)
    with open_target(artefacts, router, _key(artefacts, key_env)) as target:
        _say(parts, target, users, minutes)
        if not yes:
            typer.confirm("Begin?", abort=True, err=True)
        measured = _run(artefacts, parts, target, minutes * 60, seed)
    _show(artefacts, parts, target, measured, html, as_json=as_json)


def _planned(inventory: Path, artefacts: Artefacts, users: int) -> DeploymentPlan | None:
    """The plan of the same deployment for so many people, if that places the same replicas."""
    from deploy.catalog import load_catalog
    from deploy.errors import AtelierError
    from deploy.inventory import load_inventory
    from deploy.model_files import read_model_files
    from deploy.plan.make_plan import make_plan

    declared, catalog = load_inventory(inventory), load_catalog()
    spec = declared.spec.model_copy(update={"users": users})
    try:
        files = read_model_files(spec, catalog, declared.directory)
        planned = make_plan(spec, catalog, files, declared.directory)
    except AtelierError:
        return artefacts.plan
    before, then = (
        [(r.served_model_name, r.hosts, r.gpus) for r in plan.replicas]
        for plan in (artefacts.plan, planned)
    )
    return planned if before == then else artefacts.plan


def _key(artefacts: Artefacts, variable: str | None) -> str:
    from deploy.errors import PlanError, Problem
    from deploy.spec import SecretName

    artefacts.secrets.require_kept()
    if variable is None:
        return artefacts.secrets.value(SecretName.ROUTER_MASTER_KEY)
    if not (key := os.environ.get(variable, "")):
        found = f"the environment has no {variable}"
        raise PlanError(Problem("--key-env", found, fix=f"export {variable}=... before"))
    return key


def _say(parts: Sequence[Part], target: Target, users: int, minutes: float) -> None:
    from deploy.cli.load_text import folded, part_text, people
    from deploy.live.load.parts import limit_warnings

    lines = [
        f"{people(users)} at {target.shown} for {minutes:g} minutes:",
        *(part_text(part) for part in parts),
        "This is real load: people who work there meanwhile wait longer, and each request counts"
        " in limits, budgets and figures of the key's owner.",
    ]
    if target.through_ssh:
        lines.append("The way there leads through SSH, which is part of what is measured.")
    for line in lines:
        error_console.print("\n".join(folded(line)), markup=False)
    for warning in limit_warnings(parts, target.limits):
        error_console.print("\n".join(folded(f"warning: {warning}")), style="yellow", markup=False)


def _run(
    artefacts: Artefacts, parts: Sequence[Part], target: Target, seconds: float, seed: int
) -> Measured:
    import httpx
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from deploy.errors import Problem, ServiceError
    from deploy.live.load.parts import serving
    from deploy.live.load.people import make_people
    from deploy.live.load.queue import open_queue
    from deploy.live.load.session import run

    try:
        people = make_people(artefacts, parts, target, seed)
    except httpx.HTTPError as error:
        found = f"does not answer ({type(error).__name__})"
        fix = "see what `atelier status` says"
        raise ServiceError(Problem(target.shown, found, fix=fix)) from None
    asked = [replica for part in parts for replica in serving(artefacts, part.model)]
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with (
        open_queue(artefacts, asked) as look,
        Progress(*columns, console=error_console, transient=True) as progress,
    ):
        return run(people, target, seconds, look, _progress(progress, seconds))


def _progress(progress: object, seconds: float) -> Callable[[float, Sequence[Sample]], None]:
    from rich.progress import Progress

    from deploy.live.load import sample as outcomes

    assert isinstance(progress, Progress)  # noqa: S101 - rich is imported when it is needed
    bar = progress.add_task("begins", total=seconds)

    def show(now: float, samples: Sequence[Sample]) -> None:
        answered = sum(each.outcome == outcomes.ANSWERED for each in samples)
        progress.update(
            bar, completed=now, description=f"{len(samples)} requests, {answered} answered"
        )

    return show


def _show(  # noqa: PLR0913
    artefacts: Artefacts,
    parts: Sequence[Part],
    target: Target,
    measured: Measured,
    html: Path | None,
    *,
    as_json: bool,
) -> None:
    from deploy.cli.load_page import write_load_page
    from deploy.cli.load_text import load_to_json, print_load
    from deploy.live.load.report import report

    found: LoadReport = report(
        measured, parts, artefacts.plan.name, target.shown, through_ssh=target.through_ssh
    )
    if as_json:
        print_json(load_to_json(found))
    else:
        print_load(found)
    if html is not None:
        write_load_page(html, found, measured)
    answered = sum(use.answered for use in found.uses)
    raise typer.Exit(INTERRUPTED if found.stopped else 0 if answered else 1)
