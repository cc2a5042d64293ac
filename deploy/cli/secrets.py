"""``atelier secrets``: which secrets a deployment has, and another value for one of them."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli.options import InventoryArgument, JsonOption, Verb
from deploy.cli.output import console, print_json, print_table
from deploy.errors import Problem, SecretError

if TYPE_CHECKING:
    from deploy.secrets import SecretStore
    from deploy.spec import SecretName

secrets = typer.Typer(
    name="secrets",
    help="Show which secrets a deployment has, never their values; make a new value for one.",
    no_args_is_help=True,
)


@secrets.command(name="list", cls=Verb)
def list_secrets(inventory: InventoryArgument, as_json: JsonOption = False) -> None:
    """List the deployment's secrets: where each comes from, and what happens with another value.

    JSON: {"secrets": [{"name", "from", "rotation", "rotates"}]}; "from" is "inventory", "file" or,
    of one that the next deployment makes up, "nowhere yet".
    """
    from deploy.cli.load import load_artefacts
    from deploy.secrets.rotation import ROTATIONS

    store = load_artefacts(inventory).secrets
    rows = [
        {
            "name": str(name),
            "from": _from(store, name),
            "rotation": ROTATIONS[name].effect,
            "rotates": not ROTATIONS[name].refusal,
        }
        for name in store.names
    ]
    if as_json:
        print_json({"secrets": rows})
        return
    cells = [[str(row[column]) for column in ("name", "from", "rotation")] for row in rows]
    print_table(store.path.name, ["secret", "from", "with another value"], cells)


def _from(store: SecretStore, name: SecretName) -> str:
    if name in store.generated:
        return "nowhere yet"
    return "inventory" if store.is_declared(name) else "file"


@secrets.command(cls=Verb)
def rotate(
    inventory: InventoryArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the secret.")],
) -> None:
    """Write a new value for a secret into the file of secrets; the next deployment uses it.

    Nothing changes on a host before that, except the password of the web UI's administrator, which
    the web UI gets at once. What will change: pyinfra INVENTORY deploy.py --dry --diff.
    """
    from deploy.cli.load import load_artefacts
    from deploy.live.admin_password import rotate_admin_password
    from deploy.secrets.rotation import DEPLOY, ROTATIONS
    from deploy.secrets.rotation import rotate as rotate_secret
    from deploy.spec import SecretName

    if name not in list(SecretName):
        raise SecretError(Problem(f"secrets.{name}", "no such secret", ", ".join(SecretName)))
    artefacts = load_artefacts(inventory)
    store = artefacts.secrets
    if name == SecretName.WEB_UI_ADMIN_PASSWORD:
        rotate_admin_password(artefacts)
    else:
        rotate_secret(store, SecretName(name))
    deploy = DEPLOY.replace("INVENTORY", shlex.quote(str(inventory)))
    for line in (
        f"{name} has another value in {store.path}. Now deploy: {deploy}",
        f"Then: {ROTATIONS[SecretName(name)].effect}.",
    ):
        console.print(line, markup=False, soft_wrap=True)
