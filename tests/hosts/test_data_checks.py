"""Data that another version wrote, or that a service would leave behind."""

from __future__ import annotations

from deploy.artefacts import Artefacts
from deploy.hosts.data_checks import stranded, unreadable
from deploy.operations.questions import subject_of
from tests.conftest import MakeArtefacts


def stored(make: MakeArtefacts) -> Artefacts:
    return make(postgres={}, valkey={})


def test_data_of_this_version_and_none_at_all(make: MakeArtefacts) -> None:
    units = stored(make).stack.units
    assert list(unreadable(units, {})) == []
    assert list(unreadable(units, {"demo-postgres-0": "17"})) == []


def test_data_of_another_major_version(make: MakeArtefacts) -> None:
    (finding,) = unreadable(stored(make).stack.units, {"demo-postgres-0": "16"})
    assert finding.name == "volume demo-postgres"
    assert finding.found == "PostgreSQL 16 wrote it, and 17 does not read that"
    assert finding.allowed == "data of PostgreSQL 17"
    assert "docker exec demo-postgres-0 pg_dumpall -U postgres" in finding.fix


def test_users_in_sqlite(make: MakeArtefacts) -> None:
    seen = {"demo-open-webui-0": "SQLite format 3"}
    (finding,) = unreadable(stored(make).stack.units, seen)
    assert finding.name == "volume demo-open-webui"
    assert "would be left behind" in finding.found
    assert "postgres=Postgres(web_ui=False)" in finding.fix
    # without a database nothing is left behind
    assert list(unreadable(make().stack.units, seen)) == []


def test_a_database_on_another_host_than_its_data(make: MakeArtefacts) -> None:
    owners = {"volume demo-postgres": "demo", "volume demo-valkey": "demo"}
    (finding,) = stranded(stored(make).stack.units, owners, "demo", "router")
    assert finding.name == "volume demo-postgres"
    assert finding.fix.startswith("declare router.host for this host")


def test_a_database_is_left_behind_by_the_first_of_two_routers(make: MakeArtefacts) -> None:
    hosts = [{"name": name, "address": f"192.0.2.{n}"} for n, name in enumerate(("h1", "h2"), 1)]
    routers = [{"kind": "aristote", "host": "h2"}, {"port": 4001}]
    artefacts = make(hosts=hosts, routers=routers, postgres={}, web_ui=None)
    subject = subject_of(artefacts, "h1")
    owners = {"volume demo-postgres": "demo"}
    (finding,) = stranded(subject.elsewhere, owners, "demo", subject.main_router)
    assert finding.fix.startswith("declare routers[0].host for this host")
