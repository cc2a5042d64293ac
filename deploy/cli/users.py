"""``atelier users``: who has a key, and people whom the inventory does not declare."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from deploy.cli.options import InventoryArgument, JsonOption, Verb, YesOption
from deploy.cli.output import console, print_json, print_table
from deploy.errors import PeopleError, Problem

if TYPE_CHECKING:
    from deploy.live.people import People
    from deploy.spec import PersonSpec

users = typer.Typer(
    name="users",
    help="Show who has a key for the router; add, change and remove people that the inventory"
    " does not declare.",
    no_args_is_help=True,
)
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the person.")]
COLUMNS = ["person", "team", "models", "limits", "spent", "key"]


@users.command(name="list", cls=Verb)
def list_users(inventory: InventoryArgument, as_json: JsonOption = False) -> None:
    """List everybody with a key: team, models, limits, what is spent, whether the key is valid.

    JSON: {"people": [{"name", "email", "team", "models", "limits", "spend", "expires", "disabled",
    "kept_by"}], "teams": [{"name", "models", "limits", "spend", "kept_by"}]}; of two routers each
    person has "missing_in", too: the routers that do not know the key yet.
    """
    from deploy.people.both import merge
    from deploy.people.summary import all_rows, team_rows

    with _people(inventory) as people:
        found = people.found()
    rows, teams = all_rows(found), team_rows(merge(found))
    if as_json:
        print_json({"people": rows, "teams": teams})
        return
    limited = {row["name"] for row in teams if row["models"]}
    cells = [_cells(row, limited) for row in rows]
    print_table(people.artefacts.plan.name, COLUMNS, cells, whole=["limits"])
    if teams:
        columns = ["team", "models", "limits", "spent"]
        print_table("teams", columns, [_team_cells(row) for row in teams], whole=["limits"])


@users.command(cls=Verb)
def show(inventory: InventoryArgument, name: NameArgument, as_json: JsonOption = False) -> None:
    """Show one person and the limits of their key; never the key itself, which is kept nowhere.

    JSON: like one of the people that `atelier users list` has.
    """
    from deploy.people.summary import all_rows

    with _people(inventory) as people:
        rows = [row for row in all_rows(people.found()) if row["name"] == name]
    if not rows:
        raise PeopleError(Problem(name, "has no key", fix="atelier users list INVENTORY"))
    [row] = rows
    if as_json:
        print_json(row)
        return
    for field, value in row.items():
        console.print(f"{field:10} {_text(value)}", markup=False, soft_wrap=True)


@users.command(cls=Verb)
def add(  # noqa: PLR0913, PLR0917  one parameter per option
    inventory: InventoryArgument,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Name or e-mail address.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="CSV", help="Add everybody in a CSV or YAML file.")
    ] = None,
    team: Annotated[str | None, typer.Option(metavar="TEAM", help="Their team.")] = None,
    email: Annotated[str | None, typer.Option(metavar="EMAIL", help="E-mail address.")] = None,
    model: Annotated[
        list[str] | None, typer.Option(metavar="MODEL", help="A model; may be given repeatedly.")
    ] = None,
    max_budget: Annotated[
        float | None, typer.Option(help="The most that may be spent in --budget-duration.")
    ] = None,
    budget_duration: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Time for which the budget is, e.g. 24h, 7d or 1mo."),
    ] = None,
    tpm_limit: Annotated[int | None, typer.Option(help="Tokens per minute.")] = None,
    rpm_limit: Annotated[int | None, typer.Option(help="Requests per minute.")] = None,
    max_parallel_requests: Annotated[
        int | None, typer.Option(help="Requests at the same time.")
    ] = None,
    expires: Annotated[
        str | None, typer.Option(metavar="DAY", help="Last day of the key, e.g. 2026-12-31.")
    ] = None,
    public_key: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="age1... or ssh-...: the new key is encrypted for it."),
    ] = None,
) -> None:
    """Give one person, or everybody in a file, a key; each is written to a file, and shown nowhere.

    Limits that are not given are the inventory's (limits).
    """
    options = {
        "name": name,
        "team": team,
        "email": email,
        "models": model or None,
        "max_budget": max_budget,
        "budget_duration": budget_duration,
        "tpm_limit": tpm_limit,
        "rpm_limit": rpm_limit,
        "max_parallel_requests": max_parallel_requests,
        "expires": expires,
        "public_key": public_key,
    }
    given = {option: value for option, value in options.items() if value is not None}
    newcomers = _newcomers(file, given)
    with _people(inventory) as people:
        _print_paths(people.add(newcomers))


@users.command(cls=Verb)
def rotate(inventory: InventoryArgument, name: NameArgument) -> None:
    """Give a person a new key; the old one ends at once. Limits and what is spent stay."""
    with _people(inventory) as people:
        _print_paths(people.rotate(name))


@users.command(cls=Verb)
def disable(inventory: InventoryArgument, name: NameArgument) -> None:
    """Refuse a person's key from now on."""
    with _people(inventory) as people:
        missing = people.disable(name, disabled=True)
    console.print(f"{name}: the key is refused now", markup=False)
    _print_missing(name, missing)


@users.command(cls=Verb)
def enable(inventory: InventoryArgument, name: NameArgument) -> None:
    """Accept a disabled key again."""
    with _people(inventory) as people:
        missing = people.disable(name, disabled=False)
    console.print(f"{name}: the key is accepted again", markup=False)
    _print_missing(name, missing)


@users.command(cls=Verb)
def remove(inventory: InventoryArgument, name: NameArgument, yes: YesOption = False) -> None:
    """Remove a person and their key; what they used stays in the figures."""
    with _people(inventory) as people:
        if not yes:
            typer.confirm(f"Remove {name} and their key?", abort=True)
        people.remove(name)
    console.print(f"{name}: removed, with their key", markup=False)


@contextmanager
def _people(inventory: Path) -> Iterator[People]:
    from deploy.cli.load import load_artefacts
    from deploy.endpoints import handover
    from deploy.live.people import People
    from deploy.live.router import open_routers

    artefacts = load_artefacts(inventory)
    with open_routers(artefacts) as routers:
        yield People(artefacts, routers, handover(artefacts))


def _newcomers(file: Path | None, given: dict[str, Any]) -> list[PersonSpec]:
    from deploy.plan.people_file import read_people_file
    from deploy.spec import PersonSpec
    from deploy.spec.validation import validate

    if file is not None and given:
        options = ", ".join(given)
        raise PeopleError(Problem("--file", f"together with {options}", "the file alone"))
    if file is None:
        return [validate(PersonSpec, given)]
    people = list(read_people_file(file))
    names = [person.name for person in people]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise PeopleError(Problem(str(file), f"{repeated[0]!r} is there more than once", "once"))
    return people


def _print_paths(paths: list[Path]) -> None:
    for path in paths:
        console.print(f"a new key is in {path}", markup=False, soft_wrap=True)
    console.print("Give each to its person, then delete the file: the key is kept nowhere else.")


def _print_missing(name: str, routers: tuple[str, ...]) -> None:
    from deploy.plan.service_plans import TITLES

    for router in routers:
        # Aristote is given none of LiteLLM's, which has digests alone
        becomes = f"gives {name} a new one for both" if router == TITLES["aristote"] else "adds it"
        said = f"{name}: {router} does not know this key; a deployment {becomes}"
        console.print(said, markup=False, soft_wrap=True)


def _cells(row: dict[str, Any], limited: set[str]) -> list[str]:
    """A person's row; teams in ``limited`` have models of their own."""
    until = f"until {row['expires']}" if row["expires"] else ""
    state = "disabled" if row["disabled"] else until
    kept = row["kept_by"] if row["kept_by"] != "the inventory" else ""
    missing = [f"not in {router}: deploy" for router in row.get("missing_in", [])]
    notes = [state, *missing, f"[dim]{kept}[/]" if kept else ""]
    names = [f"[bold]{escape(row['name'])}[/]"]
    if row["email"] and row["email"] != row["name"]:
        names.append(escape(row["email"]))
    return [
        "\n".join(names),
        row["team"] or "",
        _text(row["models"]) or ("those of the team" if row["team"] in limited else "all"),
        _limits(row["limits"]),
        f"{row['spend']:.4g}",
        "\n".join(note for note in notes if note) or "good",
    ]


def _team_cells(row: dict[str, Any]) -> list[str]:
    models = _text(row["models"]) or "all"
    return [escape(row["name"]), models, _limits(row["limits"]), f"{row['spend']:.4g}"]


def _limits(limits: dict[str, Any]) -> str:
    return (
        "\n".join(
            f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in limits.items()
        )
        or "none"
    )


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {each}" for name, each in value.items()) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)
