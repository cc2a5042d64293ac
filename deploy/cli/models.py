"""``atelier models``: what can be served."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from deploy.catalog import Catalog, Licence, Model, Use, load_catalog
from deploy.catalog.new_model import lacks, new_row, row_text
from deploy.cli.fits import FIT_COLUMNS, FIT_LEGEND, best_fit, fit_row
from deploy.cli.options import JsonOption
from deploy.cli.output import console, print_json, print_table
from deploy.cli.paragraphs import print_text
from deploy.errors import Problem, SpecError
from deploy.sizing.declared import read_config

COLUMNS = ["Model", "params", "ctx", "roles", "licence", "use"]
ROLES = {"chat": "chat", "completion": "fim", "embedding": "embed", "rerank": "rerank"}
LEGEND = (
    "params: 10^9; of a mixture of experts also what one token uses. ctx: context in\n"
    "units of 1024 tokens. fim: completes by fill-in-the-middle. use: R research,\n"
    "I internal commercial, T service to third parties; small letters: there are\n"
    "conditions; -: not allowed."
)


class RoleName(StrEnum):
    """The roles, as the command line spells them."""

    CHAT = "chat"
    COMPLETION = "completion"
    EMBEDDING = "embedding"
    RERANK = "rerank"


class UseName(StrEnum):
    """The uses, as the command line spells them."""

    RESEARCH = "research"
    INTERNAL_COMMERCIAL = "internal-commercial"
    THIRD_PARTY_SERVICE = "third-party-service"


def models(  # noqa: PLR0913, PLR0917  one parameter per option
    role: Annotated[RoleName | None, typer.Option(help="Only models with this role.")] = None,
    licence: Annotated[
        str | None, typer.Option(metavar="ID", help="Only under this licence, e.g. apache-2.0.")
    ] = None,
    use: Annotated[
        UseName | None, typer.Option(help="Only models whose licence allows this use.")
    ] = None,
    family: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this family, e.g. qwen2.5-coder.")
    ] = None,
    fits: Annotated[
        str | None,
        typer.Option(metavar="GPUS", help="Only models that fit on these, e.g. '2x l40s'."),
    ] = None,
    add: Annotated[
        Path | None,
        typer.Option(metavar="CONFIG", help="Print a catalogue row made from a config.json."),
    ] = None,
    lacking: Annotated[
        bool, typer.Option("--lacking", help="Show what each row of the catalogue lacks.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """List the models of the catalogue, or write a row for a new one (--add).

    Parameters are in 10^9, the context in tokens (in the table: in units of 1024).
    """
    if add is not None:
        _print_new_row(add, json)
        return
    catalog = load_catalog()
    _refuse_unknown("--licence", licence, sorted(catalog.licences))
    _refuse_unknown("--family", family and _plain(family), _families(catalog))
    chosen = {
        name: model
        for name, model in catalog.models.items()
        if role in (None, *model.roles)
        and licence in (None, model.licence)
        and (family is None or _plain(family) == _plain(model.family))
        and (use is None or _licence(catalog, model).permission(_use(use)).allowed)
    }
    best = {name: best_fit(name, model, fits, catalog) for name, model in chosen.items() if fits}
    chosen = {name: model for name, model in chosen.items() if not fits or best[name]}
    if lacking:
        _print_lacks(chosen, json)
    elif json:
        rows = [
            model_to_json(name, model, catalog) | ({"fits": vars(best[name])} if fits else {})
            for name, model in chosen.items()
        ]
        print_json({"models": rows})
    elif chosen and fits:
        table = [fit_row(name, best[name]) for name in chosen]
        print_table(f"Models that fit on {fits}", FIT_COLUMNS, table, FIT_COLUMNS[2:])
        console.print(FIT_LEGEND, markup=False)
    elif chosen:
        table = [_row(name, model, catalog) for name, model in chosen.items()]
        print_table("Models", COLUMNS, table, ["params", "ctx"])
        console.print(LEGEND, markup=False)
    else:
        console.print("No model of the catalogue matches.")


def _print_new_row(path: Path, as_json: bool) -> None:
    config = read_config(path)
    name = path.stem if path.stem != "config" else path.resolve().parent.name
    row = new_row(name.lower(), config)
    if as_json:
        print_json(row)
    else:
        console.print(row_text(row), markup=False, soft_wrap=True, end="")


def _print_lacks(models: Mapping[str, Model], as_json: bool) -> None:
    found = {name: lacks(model) for name, model in models.items()}
    if as_json:
        print_json({"lacking": {name: list(missing) for name, missing in found.items()}})
        return
    for name, missing in found.items():
        if missing:
            print_text(f"{name}: {', '.join(missing)}")


def model_to_json(name: str, model: Model, catalog: Catalog) -> dict[str, Any]:
    """A model as ``--json`` prints it."""
    permissions = {use.value: _licence(catalog, model).permission(use) for use in Use}
    return {
        "id": name,
        **model.model_dump(mode="json"),
        "uses": {use: permission.allowed for use, permission in permissions.items()},
    }


def _row(name: str, model: Model, catalog: Catalog) -> list[str]:
    return [
        name,
        _parameters(model),
        _context(model.max_model_len),
        "+".join(ROLES[role] for role in model.roles),
        model.licence,
        "".join(_use_letter(_licence(catalog, model), use) for use in Use),
    ]


def _parameters(model: Model) -> str:
    active = model.active_parameters_billion
    return f"{_short(model.parameters_billion)}" + (f"/{_short(active)}" if active else "")


def _context(tokens: int) -> str:
    return f"{tokens // 2**20}M" if tokens >= 2**20 else f"{tokens // 1024}k"


def _short(billion: float) -> str:
    return f"{billion:.0f}" if billion >= 100 else f"{billion:.{2 if billion > 0.01 else 1}g}"


def _use_letter(licence: Licence, use: Use) -> str:
    permission = licence.permission(use)
    if not permission.allowed:
        return "-"
    letter = use.value[0].upper()
    return letter.lower() if permission.condition else letter


def _licence(catalog: Catalog, model: Model) -> Licence:
    return catalog.licences[model.licence]


def _families(catalog: Catalog) -> list[str]:
    return sorted({_plain(model.family) for model in catalog.models.values()})


def _use(name: UseName) -> Use:
    return Use(name.value.replace("-", "_"))


def _plain(text: str) -> str:
    return text.lower().replace(" ", "-")


def _refuse_unknown(option: str, value: str | None, allowed: list[str]) -> None:
    if value is not None and value not in allowed:
        matches = difflib.get_close_matches(value, allowed, n=1)
        fix = f"did you mean {matches[0]!r}?" if matches else ""
        raise SpecError(Problem(option, repr(value), ", ".join(allowed), fix))
