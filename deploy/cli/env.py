"""``atelier env``: makes any OpenAI client use the deployment."""

from __future__ import annotations

import shlex
import sys

from deploy.cli.options import InventoryArgument, JsonOption
from deploy.cli.output import print_json


def env(inventory: InventoryArgument, as_json: JsonOption = False) -> None:
    """Print OPENAI_BASE_URL and OPENAI_API_KEY for eval "$(atelier env INVENTORY)".

    This is the one place where a secret is printed. JSON: {"OPENAI_BASE_URL", "OPENAI_API_KEY"}.
    """
    from deploy.cli.load import load_artefacts
    from deploy.endpoints import router_url
    from deploy.spec import SecretName

    artefacts = load_artefacts(inventory)
    artefacts.secrets.require_kept()
    variables = {
        "OPENAI_BASE_URL": f"{router_url(artefacts)}/v1",
        "OPENAI_API_KEY": artefacts.secrets.value(SecretName.ROUTER_MASTER_KEY),
    }
    if as_json:
        print_json(variables)
        return
    for name, value in variables.items():
        sys.stdout.write(f"export {name}={shlex.quote(value)}\n")
    entry = artefacts.spec.entry
    if entry and entry.has_own_authority:
        # past eval, to whoever sits there
        sys.stderr.write(
            "Clients must trust the entry's root certificate, as atelier ca says. In Python:\n"
            f"  atelier ca {shlex.quote(str(inventory))} --out root.crt"
            " && export SSL_CERT_FILE=root.crt\n"
        )
