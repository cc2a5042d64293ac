"""A fresh Debian host with NVIDIA cards on its bus: Atelier brings the driver about, and keeps it.

There is no card: see fake_driver. apt, dpkg, systemd, the signatures and the restarts are real.
Asserted on the host itself, past SSH and past Atelier.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import fake_driver
from tests.e2e.fake_driver import BUILT, FAIL_BUILD, HOLD_BUILD, REFUSE_MODULE, Repository
from tests.e2e.hosts import USER, Host, docker, run_host
from tests.e2e.names import host_name
from tests.e2e.site import Operator, Settings

NAME = host_name("driver")
VERSION, NEWER, NEWEST = "580.173.02", "580.178.04", "580.180.01"
CUT = ("580.174.01", "580.175.01", NEWER)
"""Upgrades that are cut, each in another way."""
SETTINGS: Settings = {
    "name": "e2e-driver",
    "profile": "individual",
    "models": [{"name": "tiny-coder"}],
    "engine": {"n_gpu_layers": 0},
    "image_source": "pull",
}
DEPLOY = """
from deploy.tasks import drivers, precheck
from deploy.tasks.current import current_deployment

deployment = current_deployment()
precheck.check(deployment)
drivers.install(deployment)
"""
LOADED = "cat /sys/module/nvidia/version"


@dataclass
class Site(Operator):
    """The deployment's first steps, run from a home directory of its own."""

    directory: Path
    host: Host
    repository: Repository
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.environment["HOME"] = str(self.directory)
        deploy_file = self.directory / "drivers_only.py"
        deploy_file.write_text(DEPLOY)
        self.deploy_file = str(deploy_file)
        (self.directory / ".ssh").mkdir()
        (self.directory / ".ssh" / "known_hosts").write_text(self.host.known_host())

    def declare(self, gpus: dict[str, Any] | None = None, **driver: Any) -> None:
        host = (gpus or {}) | {
            "name": "box",
            "address": self.host.address,
            "ssh_user": USER,
            "ssh_key": str(self.host.key),
            "sudo": True,
            "gpus": "2x h100",
            "driver": self.repository.settings() | driver,
        }
        self.write_settings(SETTINGS | {"hosts": [host]})

    def doctor(self) -> list[dict[str, Any]]:
        finished = self.atelier("doctor", "--json")
        return [
            {name: finding[name] for name in ("name", "status", "found", "fix")}
            for finding in json.loads(finished.stdout)["findings"]
            if finding["name"].startswith(("GPU", "driver"))
        ]

    def states(self) -> dict[str, str]:
        """dpkg's own states of the packages, by name."""
        listed = self.host.run(
            "dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' '*nvidia*'", check=False
        )
        return {line.split()[1]: line.split()[0] for line in listed.splitlines()}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("driver")
    with fake_driver.serve(tmp_path_factory.mktemp("repository")) as repository:
        repository.publish(VERSION)
        with run_host(NAME, directory, restarts=True) as host:
            fake_driver.add_cards(host, 2, nouveau=True)
            docker("update", "--restart", "always", NAME)
            site = Site(directory, host, repository)
            site.declare()
            yield site


def test_doctor_on_a_bare_host(site: Site) -> None:
    found = {(row["name"], row["status"]) for row in site.doctor()}
    assert found == {("GPU driver", "ok"), ("GPU driver", "warning"), ("GPUs", "ok")}
    assert "the module nouveau is loaded" in json.dumps(site.doctor())


def test_a_key_that_is_another_one_is_refused(site: Site) -> None:
    site.declare(key_fingerprint="A" * 40)
    result = site.deploy()
    site.declare()
    assert result.status == 1
    assert f"has the key {site.repository.fingerprint}, not {'A' * 40}" in result.output
    assert "declare Driver(key_fingerprint=..)" in result.output
    assert site.host.run("ls /etc/apt/keyrings /etc/apt/sources.list.d | grep -c atelier",
                         check=False) == "0"  # fmt: skip


def test_an_initial_file_system_that_is_not_written(site: Site) -> None:
    """What keeps nouveau away is not taken for done: the next run writes it."""
    tool = "/usr/local/sbin/update-initramfs"
    said = "#!/bin/sh\necho 'gzip: stdout: No space left on device'; exit 1\n"
    site.host.run(f"cat >{tool} && chmod 755 {tool}", said)
    result = site.deploy()
    site.host.run(f"rm {tool}")
    assert result.status == 1
    assert "free space on the host, see df -h / /boot, and run again" in result.output
    assert site.host.run("ls /etc/modprobe.d/atelier-nvidia.conf", check=False) == ""
    assert ("create", "file /etc/modprobe.d/atelier-nvidia.conf") in site.dry_run().announced


def test_a_package_that_is_not_there(site: Site) -> None:
    site.repository.withdraw("nvidia-persistenced")
    result = site.deploy()
    site.repository.publish(VERSION)
    assert result.status == 1
    assert "Unable to locate package nvidia-persistenced" in result.output
    assert "the repository does not have this package" in result.output


def test_headers_that_the_distribution_no_longer_has(site: Site) -> None:
    site.repository.withdraw(f"linux-headers-{fake_driver.KERNEL}")
    result = site.deploy()
    site.repository.publish(VERSION)
    assert result.status == 1
    assert f"Unable to locate package linux-headers-{fake_driver.KERNEL}" in result.output
    assert "upgrade the kernel, restart the host, and run again" in result.output


DF = """#!/bin/sh
case "$*" in
*" /usr") printf 'name blocks used free share on\nfull 1 1 16384 99%% /usr\n' ;;
*) exec /usr/bin/df "$@" ;;
esac
"""


def test_disks_that_are_full(site: Site) -> None:
    """Refused before anything is touched, with what is there and what is needed."""
    site.host.run("mkdir -p /boot && mount -t tmpfs -o size=8m full /boot")
    site.host.run("cat >/usr/local/bin/df && chmod 755 /usr/local/bin/df", DF)
    refused = site.deploy()
    site.host.run("umount /boot && rm /usr/local/bin/df")
    assert refused.status == 1
    boot = ("8 MiB free in /boot", "256 MiB, for the kernel's initial file system")
    usr = ("16 MiB free in /usr", "3072 MiB, for compiler, headers and the driver")
    for words in (*boot, *usr):
        assert words in refused.output
    assert "nvidia-driver-cuda" not in site.states()


def test_apt_that_another_program_uses_is_waited_for(site: Site) -> None:
    """A process that has dpkg's lock, in the way of dpkg itself."""
    hold = (
        "import fcntl, time; f = open('/var/lib/dpkg/lock-frontend', 'w'); "
        "fcntl.lockf(f, fcntl.LOCK_EX); time.sleep(40)"
    )
    site.host.run(f'nohup python3 -c "{hold}" >/dev/null 2>&1 &')
    site.host.run(f"touch {FAIL_BUILD}")
    result = site.deploy()
    assert "which has the lock of the package manager" in result.output
    assert "waiting for python3 (process" in result.output


def test_a_build_that_fails_is_shown_and_leaves_apt_usable(site: Site) -> None:
    result = site.deploy()
    assert result.status == 1
    assert "error: too few arguments to function 'pci_resize_resource'" in result.output
    assert "this driver does not build on this kernel" in result.output
    assert not [name for name, state in site.states().items() if state[1:] not in {"i", "n", "c"}]
    site.host.run("apt-get install -q -y hello && apt-get purge -q -y hello")
    site.host.run(f"rm {FAIL_BUILD}; rm -r /var/lib/dkms")


def test_a_host_that_must_be_restarted_ends_the_run_and_says_so(site: Site) -> None:
    planned = site.dry_run()
    assert planned.status == 0, planned.output
    assert ("install", "NVIDIA driver") in planned.announced
    assert ("end the run before a restart of", "host box") in planned.announced
    for word in ("580, open kernel modules, NVIDIA's repository", "because branch 580 (long term)",
                 "because open modules drive Hopper"):  # fmt: skip
        assert word in planned.output
    done = site.deploy()
    assert done.status == 1
    assert "box must be restarted before its GPUs can be used: the module nouveau" in done.output
    assert "Driver(reboot='allowed')" in done.output
    states = site.states()
    assert {states[name] for name in ("nvidia-kernel-open-dkms", "nvidia-driver-cuda",
                                      "nvidia-container-toolkit")} == {"hi"}  # fmt: skip
    assert site.host.run(f"cat {BUILT}") == VERSION
    # nothing is done twice: the restart is all that is left
    again = site.deploy()
    assert again.steps == [("end the run before a restart of", "host box")]


def test_it_is_restarted_where_that_is_allowed(site: Site) -> None:
    boot_id = site.host.run("cat /proc/sys/kernel/random/boot_id")
    site.declare(reboot="allowed")
    result = site.deploy()
    assert result.status == 0, result.output
    assert result.steps == [("restart", "host box")]
    assert site.host.run("cat /proc/sys/kernel/random/boot_id") != boot_id
    assert site.host.run(LOADED) == VERSION
    assert site.host.run("ls /sys/module") == "nvidia"
    assert site.host.run("systemctl is-active nvidia-persistenced") == "active"
    assert site.deploy().changes == []
    assert site.dry_run().changes == []
    found = {(row["name"], row["status"]) for row in site.doctor()}
    assert ("GPUs", "ok") in found
    assert "problem" not in {status for _, status in found}


def test_what_serves_is_not_upgraded_unasked(site: Site) -> None:
    for version in CUT:
        site.repository.publish(version)
    assert site.deploy().changes == []
    site.host.run("apt-get update -q && apt-get upgrade -q -y")
    assert site.host.run("dpkg-query -W -f '${Version}' nvidia-driver-cuda") == f"{VERSION}-1"
    listed = site.host.run("apt-config dump Unattended-Upgrade::Package-Blacklist")
    assert '"nvidia-"' in listed


@pytest.mark.parametrize(
    ("cut", "version"), [*zip(("run", "connection", "power"), CUT, strict=True)]
)
def test_an_upgrade_that_was_cut_is_gone_on_with(site: Site, cut: str, version: str) -> None:
    site.declare(reboot="allowed", version=version)
    site.host.run(f"touch {HOLD_BUILD}")
    with site.start() as run:
        for _ in range(600):
            if {"iU", "hU", "iF", "hF"} & {*site.states().values()}:
                break
            time.sleep(0.2)
        else:
            raise AssertionError("the installation did not begin")
        match cut:
            case "run":
                run.kill()
            case "connection":
                site.host.run(f"kill -9 $(pgrep -f '^sshd: {USER}')")
                run.communicate(timeout=60)
                site.host.run(f"rm {HOLD_BUILD}")
                assert run.returncode != 0
                # the host goes on by itself
                site.host.run("flock --wait 60 /run/atelier-driver.lock true")
                assert site.host.run(f"cat {BUILT}") == version
            case "power":
                docker("kill", NAME)
                docker("start", NAME)
                run.kill()
                site.host.run("until systemctl is-active ssh; do sleep 0.3; done")
                assert site.host.run("dpkg --audit") != ""
    site.host.run(f"rm -f {HOLD_BUILD}")
    result = site.deploy()
    assert result.status == 0, result.output
    assert site.host.run("dpkg --audit") == ""
    assert site.host.run(LOADED) == version
    assert site.deploy().changes == []


def test_a_mismatch_is_told_by_doctor(site: Site) -> None:
    site.declare()
    site.host.run(f"echo {VERSION} >/srv/fake/module/nvidia/version")
    (row,) = [row for row in site.doctor() if row["status"] == "warning"]
    assert row["found"].endswith(f"module {VERSION} is loaded, and {NEWER} is installed")
    site.host.run(f"echo {NEWER} >/srv/fake/module/nvidia/version")


def test_secure_boot_that_refuses_the_module(site: Site) -> None:
    site.host.run(f"touch {REFUSE_MODULE}; rm -r /srv/fake/module/nvidia")
    result = site.deploy()
    site.host.run(f"rm {REFUSE_MODULE}")
    assert result.status == 1
    assert "Secure Boot refuses the module" in result.output
    assert "mokutil --import" in result.output
    assert site.apply().announced >= {("load", "module nvidia")}


def test_a_key_that_was_changed(site: Site) -> None:
    site.declare(reboot="allowed", version=NEWEST)
    site.repository.new_key()
    site.repository.publish(NEWEST)
    refused = site.deploy()
    assert refused.status == 1
    assert "signed with another key than the one that is pinned" in refused.output
    assert site.host.run(LOADED) == NEWER
    site.declare(reboot="allowed", version=NEWEST)
    result = site.deploy()
    assert result.status == 0, result.output
    assert ("update", "file /etc/apt/sources.list.d/atelier-nvidia.sources") in result.announced
    assert site.host.run(LOADED) == NEWEST
    assert site.deploy().changes == []


def test_a_version_that_is_not_there(site: Site) -> None:
    site.declare(reboot="allowed", version="580.199.01")
    result = site.deploy()
    assert result.status == 1
    assert "Unable to locate package nvidia-driver-pinning-580.199.01" in result.output
    assert "the repository does not have this package" in result.output
    site.declare(reboot="allowed")
    assert site.deploy().status == 0


DIVIDED = {"mig": {0: ["1g.20gb", "3g.40gb"]}, "power_limit_watts": 350}
LAYOUT = [["3g.40gb", 0], ["1g.20gb", 4]]


def gpus(site: Site) -> dict[str, Any]:
    """What the stand-in of nvidia-smi was told of each card."""
    found: dict[str, Any] = json.loads(site.host.run("cat /srv/fake/gpus.json"))
    return found


def test_gpus_are_divided_and_limited(site: Site) -> None:
    site.declare(DIVIDED, reboot="allowed")
    done = site.apply()
    assert done.announced >= {
        *(("divide", "GPU 0"), ("limit", "GPU 0"), ("limit", "GPU 1")),
        ("enable", "unit atelier-gpus.service"),
    }
    assert gpus(site)["0"]["instances"] == LAYOUT
    assert gpus(site)["1"]["instances"] == []
    assert {gpu["power"] for gpu in gpus(site).values()} == {350}
    told = {row["found"] for row in site.doctor() if row["name"] == "GPU settings"}
    assert told == {
        "GPU 0 divided into 3g.40gb 1g.20gb, GPU 0 limited to 350 W, GPU 1 limited to 350 W, "
        "as declared"
    }


def test_they_are_so_after_a_restart(site: Site) -> None:
    """Not by Atelier: instances and limits are lost, and the host's own unit makes them anew."""
    boot_id = site.host.run("cat /proc/sys/kernel/random/boot_id")
    site.host.run("rm /srv/fake/gpus.json; systemctl reboot", check=False)
    for _ in range(120):
        time.sleep(0.5)
        states = "cat /proc/sys/kernel/random/boot_id; systemctl is-active atelier-gpus ssh"
        now, *units = site.host.run(states, check=False).splitlines() or [boot_id]
        if now != boot_id and units == ["active", "active"]:
            break
    assert gpus(site)["0"]["instances"] == LAYOUT
    assert gpus(site)["1"]["power"] == 350
    assert site.deploy().changes == []


def test_a_layout_that_was_changed_by_hand_is_shown_and_mended(site: Site) -> None:
    site.host.run("nvidia-smi mig -i 0 -dci && nvidia-smi mig -i 0 -dgi")
    planned = site.dry_run()
    assert planned.announced == {("divide", "GPU 0")}
    assert site.deploy().announced == {("divide", "GPU 0")}
    assert gpus(site)["0"]["instances"] == LAYOUT


def test_a_limit_that_the_card_does_not_allow(site: Site) -> None:
    site.declare({"power_limit_watts": 900}, reboot="allowed")
    refused = site.deploy()
    assert (refused.status, refused.changes) == (1, [])
    assert "900 W for GPU 0" in refused.output
    assert "200 to 700 W, as the card says" in refused.output


def test_gpus_are_whole_again(site: Site) -> None:
    site.declare(reboot="allowed")
    done = site.apply()
    assert done.announced >= {("make whole", "GPU 0"), ("remove", "unit atelier-gpus.service")}
    assert (gpus(site)["0"]["mig"], gpus(site)["0"]["instances"]) == (False, [])
    assert {gpu["power"] for gpu in gpus(site).values()} == {700}
    listed = "ls /etc/atelier/gpus /etc/systemd/system/atelier-gpus.service 2>/dev/null"
    assert site.host.run(listed, check=False) == ""


@pytest.mark.long
def test_a_host_that_does_not_come_back(site: Site) -> None:
    docker("update", "--restart", "no", NAME)
    # as it was before any driver, whatever ran before this test
    site.host.run("rm -rf /srv/fake/module/nvidia; mkdir -p /srv/fake/module/nouveau")
    site.declare(reboot="allowed", reboot_timeout_seconds=60)
    result = site.deploy()
    assert result.status == 1
    assert "box has not come back within 60 s after its restart: it does not answer" in (
        result.output
    )
