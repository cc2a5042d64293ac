"""``atelier ca``: the root certificate that clients are given."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from deploy.cli.options import InventoryArgument, writable
from deploy.cli.output import error_console

HOW = """give it to each client once:
  Debian, Ubuntu    sudo cp {file} /usr/local/share/ca-certificates/ && sudo update-ca-certificates
  Fedora, RHEL      sudo cp {file} /etc/pki/ca-trust/source/anchors/ && sudo update-ca-trust
  macOS             sudo security add-trusted-cert -d -k /Library/Keychains/System.keychain {file}
  Windows           certutil -addstore Root {file}
  Firefox           Settings, Certificates, Authorities, Import
  Python, curl      SSL_CERT_FILE={file}
  Node.js, VS Code  NODE_EXTRA_CA_CERTS={file}
it ends on {ends}; its SHA-256 fingerprint is
{fingerprint}"""


def ca(
    inventory: InventoryArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", callback=writable, help="Write it to this file instead of printing it."
        ),
    ] = None,
) -> None:
    """Print the root certificate of the deployment's own authority, and how clients install it.

    The certificate goes to standard output, everything else to standard error.
    """
    from deploy.certificates import root_certificate
    from deploy.cli.load import load_artefacts
    from deploy.tls.read import read_certificate

    artefacts = load_artefacts(inventory)
    root = root_certificate(artefacts.plan.entry, artefacts.secrets)
    file = out or Path(f"{artefacts.plan.name}-root.crt")
    if out is None:
        sys.stdout.write(root)
    else:
        out.write_text(root, encoding="ascii")
    facts = read_certificate(root)
    digits = [facts.sha256[i : i + 2].upper() for i in range(0, len(facts.sha256), 2)]
    text = HOW.format(file=file, ends=f"{facts.ends:%Y-%m-%d}", fingerprint=":".join(digits))
    error_console.print(text, markup=False, soft_wrap=True)
