"""No secret is anywhere but where it is used."""

from __future__ import annotations

import json
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import yaml

from tests.e2e.argument_watch import ArgumentWatch
from tests.e2e.names import NAME, PROJECT
from tests.e2e.registry import Registry
from tests.e2e.site import MASTER_KEY, Settings, Site, free_port


def kept_secrets(site: Site) -> dict[str, str]:
    text = (site.directory / f".secrets/{NAME}.yaml").read_text()
    return dict(yaml.safe_load(text)) | {"router_master_key": MASTER_KEY}


def world_readable_files(*directories: Path) -> list[Path]:
    """Files that other users may read, and which they get to."""
    return [
        path
        for directory in directories
        for path in directory.rglob("*")
        if path.is_file()
        and path.stat().st_mode & stat.S_IROTH
        and all(
            (directory / parent).stat().st_mode & stat.S_IXOTH
            for parent in [*path.relative_to(directory).parents][:-1]
        )
    ]


def test_no_secret_shows(shared_site: Site, base_settings: Settings) -> None:
    site = shared_site
    site.environment = {"E2E_MASTER_KEY": MASTER_KEY}
    site.converge(base_settings)
    # both containers are created anew, with every kind of output switched on
    assert site.atelier("down", "--yes").returncode == 0
    watch = ArgumentWatch()
    printed = ""
    with watch.watching():
        for flags in (["--dry", "--diff", "-vvv"], ["-y", "--diff", "-vvv"]):
            finished = subprocess.run(
                site.command(*flags),
                cwd=PROJECT,
                env=site.env(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
            )
            assert finished.returncode == 0, finished.stderr
            printed += finished.stdout + finished.stderr
        for verb in (["status"], ["verify"], ["check"], ["info"], ["status", "--json"]):
            shown = site.atelier(*verb)
            printed += shown.stdout + shown.stderr
    assert watch.rounds > 50

    labels = json.dumps([item.labels for item in site.client.containers.list(all=True)])
    host = Path(base_settings["hosts"][0]["directory"])
    files = world_readable_files(site.directory, host)
    assert files
    arguments = watch.seen
    secrets = kept_secrets(site)
    assert set(secrets) == {
        "router_master_key",
        "engine_api_key",
        "web_ui_secret_key",
        "web_ui_admin_password",
        "digest_key",
    }
    for name, value in secrets.items():
        assert value not in printed, f"{name} was printed"
        assert value.encode() not in arguments, f"{name} was an argument of a process"
        assert value not in labels, f"{name} is in a label"
        for path in files:
            assert value.encode() not in path.read_bytes(), f"{name} is in {path}"
    # the containers do have them
    environment = site.container("litellm").attrs["Config"]["Env"]
    assert f"LITELLM_MASTER_KEY={MASTER_KEY}" in environment


def test_log_lines_of_a_failed_container_are_redacted(
    site: Site, changed: Callable[..., Settings], registry: Registry
) -> None:
    local = str(site.container("llama-cpp-tiny-coder").attrs["Config"]["Image"])
    entrypoint = 'ENTRYPOINT ["sh", "-c", "echo key is $LLAMA_API_KEY; exit 3"]'
    image = registry.build(f"FROM {local}\n{entrypoint}\n", "llama-cpp:talkative")
    site.write(changed(images={"llama-cpp": {"reference": image}}))
    result = site.run("-y", "-vvv")
    assert result.status == 1
    assert "key is <engine_api_key>" in result.output
    assert kept_secrets(site)["engine_api_key"] not in result.output


def test_secrets_file_is_for_its_owner_alone(site: Site) -> None:
    path = site.directory / f".secrets/{NAME}.yaml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert (path.parent / ".gitignore").read_text() == "*\n"
    assert MASTER_KEY not in path.read_text()


def test_dry_run_keeps_no_secret(tmp_path: Path, base_settings: Settings) -> None:
    settings = base_settings | {"name": f"{NAME}-dry", "router": {"port": free_port()}}
    site = Site(f"{NAME}-dry", tmp_path, settings, {"E2E_MASTER_KEY": MASTER_KEY})
    assert site.dry_run().status == 0
    assert not (tmp_path / ".secrets").exists()
    env = site.atelier("env")
    assert env.returncode == 1
    assert "deploy first" in env.stderr
    site.client.close()
