"""Cards proven in whole runs of pyinfra, on a host of its ``@fake`` connector."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from deploy.facts.drivers import Drivers
from deploy.facts.gpus import Gpus
from deploy.hosts.drivers.files import DOCKER_AFTER_CDI, DOCKER_AFTER_CDI_TEXT
from deploy.hosts.drivers.proof import proofs
from tests.fake_host import Responses, converged
from tests.test_pyinfra import INVENTORY, LOOKS, Site, plan
from tests.test_pyinfra_weights import GPU, VLLM, artefacts_of

PROVE = "Prove that containers see the cards"
VERSION = "28.5.2"
DRIVER = [
    *("@uid", "0", "@systemd", "yes"),
    "@pci",
    "0000:01:00.0 3D controller [0302]: NVIDIA Corporation Device [10de:26b9] (rev a1)",
    *("@loaded", "nvidia", "@loaded_version", "580.173.02", "@smi", "0"),
    *("@services", "nvidia-cdi-refresh enabled inactive", "docker enabled active"),
    *("@toolkit", "NVIDIA Container Toolkit CLI version 1.20.0"),
    *("@cdi", "kind: nvidia.com/gpu", '    - name: "0"'),
    "          hostPath: /usr/lib/x86_64-linux-gnu/libnvidia-ml.so.580.173.02",
    f"@file {DOCKER_AFTER_CDI}",
    base64.b64encode(DOCKER_AFTER_CDI_TEXT.encode()).decode(),
]
"""A driver that serves, and a toolkit that somebody else installed."""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("LAB_TOKEN", "hf_no-real-token")
    site = Site(tmp_path)
    host = 'Host(name="@fake/h1", gpus="1x l40s", driver=Driver())'
    text = INVENTORY.replace('Host(name="@fake/h1")', host).replace("# more", VLLM)
    text = text.replace("Deployment, Host", "Deployment, Driver, Engine, Host")
    (site.directory / "responses.json").write_text("{}")
    site.inventory.write_text(
        text.replace('Model(name="tiny-coder")', 'Model(name="qwen2.5-coder-0.5b")')
    )
    site.keep_secrets()
    return site


def there(site: Site, *driver: str) -> Responses:
    """Everything runs as declared, on a Docker that has CDI."""
    answers = converged(artefacts_of(site)) | GPU
    info = json.dumps({"version": VERSION, "running": 3, "swarm": "inactive"})
    answers["@dockerd"] = ["@dockerd", "/usr/sbin/dockerd", "@info", info]
    answers["@engine"] = [line.replace("24.0.5", VERSION) for line in answers["@engine"]]
    return {"look_at_cards": list(driver or DRIVER)} | answers


def proven(site: Site) -> list[str]:
    """What an earlier run wrote down."""
    (proof,) = proofs(artefacts_of(site).stack.on("@fake/h1"))
    gpus, drivers = Gpus().process(GPU["@nvidia"]), Drivers().process(DRIVER)
    return [f"{proof.image} {proof.key(gpus, drivers, VERSION)}"]


def test_what_was_proven_costs_no_command(site: Site) -> None:
    site.answer({"proven-gpus": proven(site)} | there(site))
    dry = site.run("--dry", "--json", "--diff")
    assert not any(plan(dry).values()), dry.stderr
    result = site.execute("--json", "-vvv")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["results"]["totals"]["success"] == 0
    assert result.stderr.count("Loaded fact") == LOOKS


def test_it_is_proven_before_engines_are_touched(site: Site) -> None:
    site.answer(there(site))
    dry = site.run("--dry", "--json", "--diff")
    assert [name for name, changed in plan(dry).items() if changed] == [PROVE]
    names = list(plan(dry))
    assert names.index(PROVE) < names.index("Run the engines")
    (proof,) = proofs(artefacts_of(site).stack.on("@fake/h1"))
    assert f"Will prove the cards in a container of {proof.image}" in dry.stderr
    result = site.execute("--json", "--diff")
    assert result.returncode == 0, result.stderr
    rows = json.loads(result.stdout)["results"]["operations"]
    assert [row["name"] for row in rows if row["success"]] == [PROVE]


def test_a_setup_makes_it_due(site: Site) -> None:
    """The specification is of another driver: it is written anew, and cards are proven."""
    old = [line.replace("libnvidia-ml.so.580.173.02", "libnvidia-ml.so.570.1") for line in DRIVER]
    site.answer({"proven-gpus": proven(site)} | there(site, *old))
    dry = site.run("--dry", "--json", "--diff")
    assert [name for name, changed in plan(dry).items() if changed] == [
        "Install GPU drivers",
        PROVE,
    ]
    assert "Will update CDI specification of the GPUs" in dry.stderr
