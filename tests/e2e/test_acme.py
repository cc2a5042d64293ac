"""Certificates over ACME: issued, renewed under load, refused; the authority is pebble."""

from __future__ import annotations

import copy
import json
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509

from deploy.live.acme import FRESH_SECONDS
from tests.e2e.names import CHECKOUT
from tests.e2e.pebble import Network, Pebble, run_network
from tests.e2e.site import (
    MASTER_KEY,
    START_TIMEOUT_SECONDS,
    Settings,
    Site,
    free_port,
    settings_here,
)

NAME = f"e2e-acme-{CHECKOUT}"
NAMES = ["ai.lab.example", "chat.lab.example"]
ENTRY, KEEPER = f"{NAME}-haproxy-0", f"{NAME}-certbot-0"
KEY_ID, HMAC = "kid-7", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
LIFE_SECONDS = 60
OUTPUTS: list[str] = []
"""What runs printed."""


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with run_network(f"{NAME}-pebble", tmp_path_factory.mktemp("pebble"), free_port()) as made:
        yield made


@pytest.fixture(scope="module")
def pebble(network: Network) -> Pebble:
    return network.start("plain", {})


@pytest.fixture(scope="module")
def settings(
    tmp_path_factory: pytest.TempPathFactory, network: Network, pebble: Pebble
) -> Settings:
    acme = {
        "terms_agreed": True,
        "email": "admin@lab.example",
        "directory": pebble.directory,
        "ca_file": "pebble.pem",
        "port_80_is_forwarded": True,
    }
    ports = {"http_port": network.http_port, "https_port": free_port()}
    entry = ports | {"names": NAMES[:1], "acme": acme}
    return settings_here(NAME, tmp_path_factory.mktemp("host")) | {"entry": entry}


@pytest.fixture(scope="module")
def shared(
    tmp_path_factory: pytest.TempPathFactory, settings: Settings, network: Network, pebble: Pebble
) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("site")
    trust(directory, network, pebble)
    site = Site(NAME, directory, settings, {"E2E_MASTER_KEY": MASTER_KEY, "EAB_HMAC": HMAC})
    try:
        OUTPUTS[:] = [result.output for result in site.converged_twice()]
        yield site
    finally:
        site.remove()


@pytest.fixture
def site(shared: Site, settings: Settings) -> Site:
    """As the settings declare it, whatever the test before left."""
    if shared.settings != settings:
        shared.converge(settings)
    return shared


def trust(directory: Path, network: Network, *authorities: Pebble) -> None:
    """What proves the directories, and what these authorities issue."""
    roots = [network.proof, *(authority.root for authority in authorities)]
    (directory / "pebble.pem").write_text("".join(roots))


def changed(settings: Settings, names: list[str] | None = None, **acme: Any) -> Settings:
    other = copy.deepcopy(settings)
    other["entry"]["names"] = names or other["entry"]["names"]
    other["entry"]["acme"] |= acme
    return other


def served(site: Site) -> x509.Certificate:
    """The certificate that the entry serves now."""
    pem = ssl.get_server_certificate(("127.0.0.1", site.settings["entry"]["https_port"]))
    return x509.load_pem_x509_certificate(pem.encode())


def names_of(certificate: x509.Certificate) -> list[str]:
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return sorted(found.value.get_values_for_type(x509.DNSName))


def open_client(site: Site, **more: Any) -> httpx.Client:
    """A client of the entry under its name, which trusts what clients are given alone."""
    context = ssl.create_default_context(cafile=site.directory / "pebble.pem")
    port = site.settings["entry"]["https_port"]
    return httpx.Client(
        base_url=f"https://127.0.0.1:{port}", verify=context, trust_env=False, timeout=60, **more
    )


def ask(client: httpx.Client, path: str = "/health", name: str = NAMES[0]) -> httpx.Response:
    extensions = {"sni_hostname": name}
    headers = {"Host": name, "Authorization": f"Bearer {MASTER_KEY}"}
    return client.get(path, headers=headers, extensions=extensions)


def started(site: Site, name: str = ENTRY) -> tuple[str, str]:
    """Id and start time of a container."""
    row = site.snapshot()[name]
    return row[0], row[2]


# issued


def test_the_authority_has_fetched_the_proof_from_the_entry(site: Site, pebble: Pebble) -> None:
    assert names_of(served(site)) == NAMES[:1]
    assert "Pebble Intermediate CA" in served(site).issuer.rfc4514_string()
    log = pebble.log()
    port = site.settings["entry"]["http_port"]
    assert f"to validate w/ HTTP: http://{NAMES[0]}:{port}/.well-known/acme-challenge/" in log
    with open_client(site) as client:
        assert ask(client).json() == {"status": "ok"}
        assert [row["id"] for row in ask(client, "/v1/models").json()["data"]] == ["tiny-coder"]


def test_the_plain_port_leads_to_tls_all_the_same(site: Site) -> None:
    plain = f"http://127.0.0.1:{site.settings['entry']['http_port']}"
    reply = httpx.get(f"{plain}/.well-known/other", headers={"Host": NAMES[0]}, trust_env=False)
    assert reply.status_code == 308
    reply = httpx.get(f"{plain}/.well-known/acme-challenge/x", trust_env=False, timeout=60)
    assert reply.status_code == 503


def test_status_doctor_and_verify_know_it(site: Site) -> None:
    verified = site.atelier("verify", "--json")
    checks = {row["name"]: row for row in json.loads(verified.stdout)["checks"]}
    assert verified.returncode == 0, verified.stdout
    assert "certificate of Pebble Intermediate CA" in checks["entry"]["detail"]
    assert "with 89 days left" in checks["entry"]["detail"]
    assert checks["entry"]["warning"] == ""
    rows = {
        row["service"]: row
        for row in json.loads(site.atelier("status", "--json").stdout)["services"]
    }
    assert (rows[ENTRY]["certificate_days"], rows[KEEPER]["certificate_problem"]) == (89, "")
    found = json.loads(site.atelier("doctor", "--json").stdout)["findings"]
    by_name = {(row["name"], row["status"]): row["found"] for row in found}
    assert by_name["certificate", "ok"] == "89 days left"
    assert by_name["DNS", "warning"] == f"{NAMES[0]} has no address on the host"
    printed = site.atelier("ca")
    assert printed.returncode == 1
    assert "give them pebble.pem" in printed.stderr


def test_it_is_served_again_after_a_restart(site: Site) -> None:
    before = served(site)
    site.container("haproxy").restart()
    with open_client(site) as client:
        wait_until_served(client)
    assert served(site) == before


def wait_until_served(client: httpx.Client) -> None:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while True:
        with suppress(httpx.TransportError):
            if ask(client).status_code == 200:
                return
        assert time.monotonic() < deadline
        time.sleep(0.3)


# not issued


def test_a_name_that_the_authority_does_not_find(
    site: Site, settings: Settings, network: Network
) -> None:
    before, containers = served(site), started(site)
    network.lose(NAMES[1])
    site.write(changed(settings, NAMES))
    failed = site.deploy()
    assert failed.status == 1
    assert f"was asked for {', '.join(NAMES)}: not issued: {NAMES[1]}: " in failed.output
    assert "could not resolve URL" in failed.output, failed.output
    assert served(site) == before
    status = json.loads(site.atelier("status", "--json").stdout)
    [problem] = [
        row["certificate_problem"] for row in status["services"] if row["service"] == KEEPER
    ]
    assert "could not resolve URL" in problem
    findings = json.loads(site.atelier("doctor", "--json").stdout)["findings"]
    [finding] = [row for row in findings if row["name"] == "certificate"]
    assert finding["status"] == "warning"
    assert "could not resolve URL" in finding["found"]
    # the same declaration, when the name is there
    network.find(NAMES[1])
    # what has just failed is not tried again
    time.sleep(FRESH_SECONDS)
    again = site.deploy()
    assert (again.status, again.changes) == (0, []), again.output
    assert names_of(served(site)) == NAMES
    assert started(site) == containers
    OUTPUTS.extend([failed.output, again.output])


def test_an_authority_that_rejects_every_nonce(
    site: Site, settings: Settings, network: Network
) -> None:
    before = served(site)
    rejecting = network.start("rejecting", {"PEBBLE_WFE_NONCEREJECT": "100"})
    site.write(changed(settings, directory=rejecting.directory))
    failed = site.deploy()
    assert failed.status == 1
    assert "nonce" in failed.output, failed.output
    assert served(site) == before
    OUTPUTS.append(failed.output)


# an authority of an institution, whose certificates do not last


@pytest.fixture(scope="module")
def institution(network: Network) -> Pebble:
    profiles = {"default": {"description": "", "validityPeriod": LIFE_SECONDS}}
    return network.start(
        "institution",
        {},
        externalAccountBindingRequired=True,
        externalAccountMACKeys={KEY_ID: HMAC},
        profiles=profiles,
    )


@contextmanager
def under_load(site: Site) -> Iterator[Counter[str]]:
    """Requests on connections that are held, and on new ones, and how they went."""
    results: Counter[str] = Counter()
    ended = threading.Event()

    def ask_on(kind: str, *, held: bool) -> None:
        with open_client(site) as kept:
            while not ended.is_set():
                try:
                    if held:
                        code = ask(kept, "/v1/models").status_code
                    else:
                        with open_client(site) as client:
                            code = ask(client, "/v1/models").status_code
                    results[f"{kind} {code}"] += 1
                except httpx.HTTPError as error:
                    results[f"{kind} {error!r}"] += 1
                time.sleep(0.15)

    ways = (("held", True), ("held", True), ("new", False))
    threads = [
        threading.Thread(target=ask_on, args=(way[0],), kwargs={"held": way[1]}) for way in ways
    ]
    for thread in threads:
        thread.start()
    try:
        yield results
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def test_known_customers_and_renewals_under_load(
    site: Site, settings: Settings, network: Network, pebble: Pebble, institution: Pebble
) -> None:
    before, containers = served(site), started(site)
    trust(site.directory, network, pebble, institution)
    site.write(changed(settings, directory=institution.directory))
    failed = site.deploy()
    assert failed.status == 1
    assert "external account binding" in failed.output.lower(), failed.output
    assert served(site) == before
    account = {"key_id": KEY_ID, "hmac": {"env": "EAB_HMAC"}}
    site.write(changed(settings, directory=institution.directory, external_account=account))
    planned, done = site.dry_run(), site.deploy()
    assert (planned.status, done.status) == (0, 0), done.output
    assert done.announcements == planned.announcements
    first = served(site)
    assert first != before
    with under_load(site) as results:
        renewed = [wait_for_another(site, first)]
        renewed.append(wait_for_another(site, renewed[0]))
    assert set(results) == {"held 200", "new 200"}, results
    assert min(results.values()) > 20
    again = site.deploy()
    assert (again.status, again.changes) == (0, []), again.output
    # the same process, all the time
    assert started(site) == containers
    OUTPUTS.extend([failed.output, planned.output, done.output, again.output])


def wait_for_another(site: Site, before: x509.Certificate) -> x509.Certificate:
    deadline = time.monotonic() + 2 * LIFE_SECONDS
    while (now := served(site)) == before:
        assert time.monotonic() < deadline, site.container("certbot").logs().decode()
        time.sleep(0.5)
    # not before its time
    passed = now.not_valid_before_utc - before.not_valid_before_utc
    assert passed.total_seconds() >= LIFE_SECONDS / 2 - 2
    return now


# secrets


def test_keys_are_nowhere_but_where_they_are_used(shared: Site, settings: Settings) -> None:
    keeper = shared.container("certbot")
    command = ["sh", "-c", "cat /etc/letsencrypt/live/*/privkey.pem"]
    output = keeper.exec_run(command).output
    assert isinstance(output, bytes)
    kept = output.decode()
    lines = [line for line in kept.splitlines() if "-----" not in line and len(line) > 20]
    assert lines
    containers = [shared.client.containers.get(name) for name in shared.snapshot()]
    shown = [*OUTPUTS, *(json.dumps(each.attrs) for each in containers)]
    shown += [each.logs().decode() for each in containers]
    for secret in (HMAC, *lines):
        assert not any(secret in text for text in shown)
    directory = Path(settings["hosts"][0]["directory"])
    files = [path for path in directory.rglob("*") if path.is_file()]
    with_key = [path for path in files if HMAC in path.read_text("latin-1")]
    assert {path.name for path in with_key} == {"account.ini"}
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in with_key)
    assert not any(line in path.read_text("latin-1") for path in files for line in lines)
