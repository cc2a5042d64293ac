"""Users notice nothing of a deployment that changes nothing."""

from __future__ import annotations

import threading

from tests.e2e.site import Site


def test_requests_during_an_unchanged_redeployment(site: Site) -> None:
    stop = threading.Event()
    failures: list[Exception] = []
    answered: list[str] = []

    def ask() -> None:
        while not stop.is_set() and len(answered) < 5000:
            try:
                answered.append(site.complete())
            except Exception as error:  # every failure counts, whatever it is
                failures.append(error)

    clients = [threading.Thread(target=ask) for _ in range(2)]
    for client in clients:
        client.start()
    try:
        result = site.deploy()
    finally:
        stop.set()
        for client in clients:
            client.join()
    assert (result.status, result.succeeded) == (0, 0), result.output
    assert failures == []
    assert len(answered) > 3
