"""``atelier images``: the images of a deployment, and archives of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploy.cli.options import InventoryArgument, JsonOption
from deploy.cli.output import error_console, print_json, print_table
from deploy.units import MB

if TYPE_CHECKING:
    from deploy.images import ImageUse


def images(
    inventory: InventoryArgument,
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="DIRECTORY",
            help="Pull or build the images on this machine and write them there as archives.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the images of a deployment, or save them for hosts that reach no registry.

    JSON: {"images": [{"name", "reference", "source", "archive", "size_bytes"}]}; the size is that
    of the archive, or of the image where this machine has it, else null.
    """
    from deploy.cli.load import load_artefacts
    from deploy.images import save_all

    uses = load_artefacts(inventory).images
    if save:
        _refuse_archives(uses)
        archives = save_all(uses, save, lambda line: error_console.print(line, markup=False))
        rows = [
            _row(name, use, str(archive.file.path), archive.file.size_bytes)
            for (name, use), archive in zip(uses.items(), archives, strict=True)
        ]
    else:
        rows = [_row(name, use, *_size(use)) for name, use in uses.items()]
    if as_json:
        print_json({"images": rows})
    else:
        columns = ["image", "reference", "source", "MB"]
        cells = [[row["name"], row["reference"], row["source"], _mb(row)] for row in rows]
        print_table(inventory.stem, columns, cells, numbers=["MB"])


def _refuse_archives(uses: dict[str, ImageUse]) -> None:
    from deploy.errors import PlanError, Problem

    loaded = [name for name, use in uses.items() if use.archive]
    if loaded:
        raise PlanError(
            Problem(
                "image_source",
                f"{', '.join(loaded)} would be loaded from archives that are there already",
                "'pull' or 'build', on the machine that saves them",
            )
        )


def _size(use: ImageUse) -> tuple[str, int | None]:
    from deploy.images import image_size

    if use.archive:
        return str(use.archive.file.path), use.archive.file.size_bytes
    return "", image_size(use.image.reference)


def _row(name: str, use: ImageUse, archive: str, size_bytes: int | None) -> dict[str, Any]:
    return {
        "name": name,
        "reference": use.image.reference,
        "source": use.source,
        "archive": archive,
        "size_bytes": size_bytes,
    }


def _mb(row: dict[str, Any]) -> str:
    return "" if row["size_bytes"] is None else f"{row['size_bytes'] / MB:.0f}"
