"""What is on every host after Atelier was there: looked at over SSH, without Atelier."""

from __future__ import annotations

import json

from testinfra.host import Host


def test_docker_is_installed_enabled_and_configured(host: Host) -> None:
    assert host.package("docker.io").is_installed
    unit = host.service("docker")
    assert unit.is_running
    assert unit.is_enabled
    settings = json.loads(host.file("/etc/docker/daemon.json").content_string)
    assert settings["live-restore"] is True


def test_containers_run_healthy_confined_and_come_back(host: Host) -> None:
    containers = [container.inspect() for container in host.docker.get_containers()]
    assert len(containers) > 1
    for container in containers:
        assert container["State"]["Health"]["Status"] == "healthy"
        assert container["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
        assert container["HostConfig"]["CapDrop"] == ["ALL"]
        assert container["HostConfig"]["Memory"] > 0


def test_configuration_belongs_to_root(host: Host) -> None:
    [deployment] = host.file("/var/lib/atelier/deployments").listdir()
    directory = host.file(f"/var/lib/atelier/deployments/{deployment}/config")
    assert directory.is_directory
    assert directory.user == "root"
