"""What the entry and links serve with: a certificate of the site, or one that Atelier makes."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from deploy.errors import PlanError, Problem, SecretError
from deploy.plan.service_plans import EntryPlan, LinksPlan, WebUIPlan
from deploy.secrets import SecretStore
from deploy.secrets.kept import CERTIFICATES, LINKS
from deploy.tls.pair import ENTRY_CERTIFICATE, Pair

ACME_AUTHORITIES = "entry.acme.ca_file"


def read_site_pair(plan: EntryPlan, directory: Path) -> Pair | None:
    """The site's own certificate and key; ``None`` where Atelier makes them.

    Args:
        plan: the entry.
        directory: what relative paths are relative to.

    Raises:
        PlanError: if they cannot be read, do not belong together or do not cover the names.
    """
    if not (plan.spec.certificate and plan.spec.key):
        return None
    from deploy.tls.check import CERTIFICATE, KEY, pair_problems

    problems: list[Problem] = []
    pair = Pair(
        _read(CERTIFICATE, directory / plan.spec.certificate, problems),
        _read(KEY, directory / plan.spec.key, problems),
    )
    problems += [] if problems else pair_problems(pair, plan.names)
    if problems:
        raise PlanError(*problems)
    return pair


def read_acme_authorities(plan: EntryPlan, directory: Path) -> str:
    """PEM of the authorities that are declared for ACME; empty where systems know them.

    Args:
        plan: the entry.
        directory: what relative paths are relative to.

    Raises:
        PlanError: if the file cannot be read, or has no certificate.
    """
    if plan.spec.acme is None or plan.spec.acme.ca_file is None:
        return ""
    from deploy.tls.check import certificate_problems

    problems: list[Problem] = []
    text = _read(ACME_AUTHORITIES, directory / plan.spec.acme.ca_file, problems)
    problems += [] if problems else certificate_problems(text, ACME_AUTHORITIES)
    if problems:
        raise PlanError(*problems)
    return text


def read_login_authorities(plan: WebUIPlan, directory: Path) -> dict[str, str]:
    """PEM of the authorities that are declared for logins, by ``oidc`` and ``ldap``.

    Args:
        plan: the web UI.
        directory: what relative paths are relative to.

    Raises:
        PlanError: if a file cannot be read, or has no certificate.
    """
    found: dict[str, str] = {}
    problems: list[Problem] = []
    for kind, spec in (("oidc", plan.spec.oidc), ("ldap", plan.spec.ldap)):
        if spec is None or spec.ca_file is None:
            continue
        from deploy.tls.check import certificate_problems

        setting, before = f"web_ui.{kind}.ca_file", len(problems)
        found[kind] = _read(setting, directory / spec.ca_file, problems)
        if len(problems) == before:
            problems += certificate_problems(found[kind], setting)
    if problems:
        raise PlanError(*problems)
    return found


def public_authorities() -> str:
    """PEM of the authorities that the web UI believes where none are declared.

    Those that a site has added to its hosts are not among them.
    """
    from requests.utils import DEFAULT_CA_BUNDLE_PATH

    return Path(DEFAULT_CA_BUNDLE_PATH).read_text(encoding="utf-8")


def provide_certificate(
    deployment: str, plan: EntryPlan, secrets: SecretStore, now: datetime
) -> None:
    """Let the entry have a certificate of the deployment's own authority.

    Args:
        deployment: name of the deployment.
        plan: the entry.
        secrets: where both are kept.
        now: the time, in UTC.

    Raises:
        SecretError: if what is kept cannot be read.
    """
    from deploy.tls.renewal import provide

    try:
        own = provide(secrets.certificates, deployment, plan.names, now)
    except (ValueError, TypeError):
        # the parser's message may quote the file
        found = f"{CERTIFICATES}: what is kept of the authority cannot be read"
        fix = "restore the file from a backup; without it clients must be given a new root"
        raise SecretError(Problem(str(secrets.path), found, fix=fix)) from None
    secrets.serve_with(own.server, own)


def provide_link_certificates(
    deployment: str, plan: LinksPlan, secrets: SecretStore, now: datetime
) -> None:
    """Let both ends of every link have a certificate of an authority for links alone.

    Args:
        deployment: name of the deployment.
        plan: the links.
        secrets: where all are kept.
        now: the time, in UTC.

    Raises:
        SecretError: if what is kept cannot be read.
    """
    from deploy.tls.links import provide_links

    try:
        own = provide_links(secrets.links, deployment, plan.certified, now)
    except (ValueError, TypeError):
        # the parser's message may quote the file
        found = f"{LINKS}: what is kept of their authority cannot be read"
        fix = f"restore the file from a backup, or remove {LINKS} from it: new ones are made"
        raise SecretError(Problem(str(secrets.path), found, fix=fix)) from None
    secrets.link_with(own, plan.certified)


def trusted_by_clients(secrets: SecretStore) -> str:
    """PEM of what a client has to trust: the authority, or the site's own certificates."""
    served = secrets.value(ENTRY_CERTIFICATE)
    own = secrets.certificates
    return own.authority.certificate if own and own.server.certificate == served else served


def root_certificate(plan: EntryPlan | None, secrets: SecretStore) -> str:
    """PEM of the root that clients must be given.

    Raises:
        PlanError: if the deployment has no authority of its own.
        SecretError: if it was not deployed with it yet.
    """
    if plan is None:
        found = "not declared, so that there is no certificate"
        raise PlanError(Problem("entry", found, fix="declare entry=Entry()"))
    own = secrets.certificates
    if plan.spec.acme:
        found = f"the certificate is issued by {plan.spec.acme.directory}"
        fix = "clients trust it where they trust that authority" + (
            f": give them {plan.spec.acme.ca_file}" if plan.spec.acme.ca_file else ""
        )
        raise PlanError(Problem("entry.acme", found, fix=fix))
    if plan.spec.certificate or own is None:
        found = "the certificate is the site's own, not one of Atelier's"
        fix = "clients trust it where they trust the authority that signed it"
        raise PlanError(Problem("entry.certificate", found, fix=fix))
    secrets.require_kept()
    return own.authority.certificate


def _read(setting: str, path: Path, problems: list[Problem]) -> str:
    try:
        text = path.read_text(encoding="utf-8")
        return text if text.endswith("\n") else f"{text}\n"
    except FileNotFoundError:
        found, fix = (
            f"no such file: {path}",
            "give a path relative to the inventory, or put it there",
        )
    except UnicodeDecodeError:
        found, fix = f"{path} is not text", "convert it to PEM: openssl x509, openssl pkey"
    except OSError as error:
        found, fix = f"cannot read {path}: {error.strerror}", "make it readable for you"
    problems.append(Problem(setting, found, fix=fix))
    return ""
