"""``atelier info``: where a deployment answers, and what to try."""

from __future__ import annotations

import shlex

from deploy.cli.options import InventoryArgument, JsonOption
from deploy.cli.output import console, print_json


def info(inventory: InventoryArgument, as_json: JsonOption = False) -> None:
    """Show addresses, models and where the logins are kept.

    JSON: {"router_url", "web_ui_url", "admin_email", "secrets_file", "models"}, and
    "completions_url" where code is completed at an address of its own.
    """
    from deploy.cli.load import load_artefacts
    from deploy.endpoints import completions_url, router_url, web_ui_url

    artefacts = load_artefacts(inventory)
    path = shlex.quote(str(inventory))
    web_ui = artefacts.spec.web_ui
    models = artefacts.plan.served_models
    facts = {
        "router_url": f"{router_url(artefacts)}/v1",
        "web_ui_url": web_ui_url(artefacts),
        "admin_email": web_ui.admin_email if web_ui else None,
        "secrets_file": str(artefacts.secrets.path),
        "models": models,
    }
    completes_at = f"{completions_url(artefacts)}/v1"
    if completes_at != facts["router_url"]:
        facts["completions_url"] = completes_at
    if as_json:
        print_json(facts)
        return
    lines = [f"  API for editors    {facts['router_url']}  (models: {', '.join(models)})"]
    if completes_at != facts["router_url"]:
        lines.append(f"  to complete code   {completes_at}")
    if web_ui:
        lines = [
            f"  chat in a browser  {facts['web_ui_url']}",
            f"                     log in as {facts['admin_email']},",
            "                     password: web_ui_admin_password in the file of secrets",
            *lines,
        ]
    entry = artefacts.spec.entry
    if entry and entry.has_own_authority:
        lines.append(f"  root certificate   atelier ca {path}     for each client, once")
    lines += [
        f"  secrets            {facts['secrets_file']}",
        "",
        "  try next",
        f'    eval "$(atelier env {path})"     then any OpenAI client works',
        f"    atelier status {path}",
        f"    pyinfra {path} deploy.py --dry --diff     after changing a value",
        f"    atelier down {path}     removes it",
    ]
    console.print(f"\n[bold]{artefacts.plan.name}[/] answers at\n")
    console.print("\n".join(lines) + "\n", markup=False, soft_wrap=True)
