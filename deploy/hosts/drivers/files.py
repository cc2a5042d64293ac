"""The files that keep a host's drivers as they should be: their places and their texts."""

from __future__ import annotations

from deploy.catalog.nvidia import NvidiaPackages
from deploy.hosts.drivers.amd_choice import AmdChoice
from deploy.hosts.drivers.choice import Choice

MODPROBE = "/etc/modprobe.d/atelier-nvidia.conf"
UPGRADES = "/etc/apt/apt.conf.d/52atelier-nvidia"
APT_SOURCE = "/etc/apt/sources.list.d/atelier-nvidia.sources"
APT_PIN = "/etc/apt/preferences.d/atelier-nvidia"
APT_KEY = "/etc/apt/keyrings/atelier-nvidia.asc"
DNF_SOURCE = "/etc/yum.repos.d/atelier-nvidia.repo"
DNF_KEY = "/etc/pki/rpm-gpg/atelier-nvidia"
PERSISTENCE = "/etc/systemd/system/nvidia-persistenced.service.d/atelier.conf"
TOOLKIT_APT_SOURCE = "/etc/apt/sources.list.d/atelier-nvidia-toolkit.sources"
TOOLKIT_APT_KEY = "/etc/apt/keyrings/atelier-nvidia-toolkit.asc"
TOOLKIT_DNF_SOURCE = "/etc/yum.repos.d/atelier-nvidia-toolkit.repo"
TOOLKIT_DNF_KEY = "/etc/pki/rpm-gpg/atelier-nvidia-toolkit"
DOCKER_AFTER_CDI = "/etc/systemd/system/docker.service.d/atelier-cdi.conf"
GPU_SETTINGS = "/etc/atelier/gpus"
GPU_SETTINGS_SCRIPT = "/usr/local/lib/atelier/gpu_settings.sh"
GPU_SETTINGS_UNIT = "/etc/systemd/system/atelier-gpus.service"
AMD_APT_SOURCE = "/etc/apt/sources.list.d/atelier-amd.sources"
AMD_APT_PIN = "/etc/apt/preferences.d/atelier-amd"
AMD_APT_KEY = "/etc/apt/keyrings/atelier-amd.asc"
AMD_UPGRADES = "/etc/apt/apt.conf.d/52atelier-amd"
AMD_DNF_SOURCE = "/etc/yum.repos.d/atelier-amd.repo"
AMD_DNF_KEY = "/etc/pki/rpm-gpg/atelier-amd"
FILES = (
    *(GPU_SETTINGS, GPU_SETTINGS_SCRIPT, GPU_SETTINGS_UNIT),
    *(MODPROBE, UPGRADES, APT_SOURCE, APT_PIN, DNF_SOURCE, PERSISTENCE),
    *(TOOLKIT_APT_SOURCE, TOOLKIT_DNF_SOURCE, DOCKER_AFTER_CDI),
    *(AMD_APT_SOURCE, AMD_APT_PIN, AMD_UPGRADES, AMD_DNF_SOURCE),
)
"""What is compared with what should be there."""
OF_THE_DRIVER = "*nvidia* cuda-drivers*"
"""apt: patterns of the driver's packages."""
MARK = "# Written by Atelier; changes here are lost.\n"

MODPROBE_TEXT = f"""{MARK}blacklist nouveau
options nouveau modeset=0
"""
UPGRADES_TEXT = """// Written by Atelier; changes here are lost.
// A driver that is upgraded while its module is loaded takes the GPU from every new container.
Unattended-Upgrade::Package-Blacklist {
  "nvidia-";
  "libnvidia-";
  "libcuda";
  "firmware-nvidia";
  "linux-modules-nvidia-";
  "linux-objects-nvidia-";
  "linux-signatures-nvidia-";
  "cuda-drivers";
};
"""
"""Prefixes of regular expressions: https://github.com/mvo5/unattended-upgrades."""
AMD_UPGRADES_TEXT = """// Written by Atelier; changes here are lost.
Unattended-Upgrade::Package-Blacklist {
  "amdgpu-dkms";
};
"""
# Ubuntu starts it with --no-persistence-mode; without, it is on: man nvidia-persistenced
PERSISTENCE_TEXT = f"""{MARK}[Service]
ExecStart=
ExecStart=/usr/bin/nvidia-persistenced --user nvidia-persistenced --verbose
"""
# nothing else orders Docker after what writes the CDI specification at every start; containers that
# want a device of it would stay stopped for ever
DOCKER_AFTER_CDI_TEXT = f"""{MARK}[Unit]
Wants=nvidia-cdi-refresh.service
After=nvidia-cdi-refresh.service
"""


def wanted_files(choice: Choice, packages: NvidiaPackages) -> dict[str, str]:
    """Texts of the files for the driver, by path."""
    files = {MODPROBE: MODPROBE_TEXT}
    if packages.manager == "apt":
        files[UPGRADES] = UPGRADES_TEXT
    if choice.source == "vendor":
        files |= _repository(choice, packages)
    elif packages.repository.startswith("ubuntu"):
        files[PERSISTENCE] = PERSISTENCE_TEXT
    return files


def _repository(choice: Choice, packages: NvidiaPackages) -> dict[str, str]:
    if packages.manager == "dnf":
        return {
            DNF_SOURCE: f"{MARK}# key {choice.fingerprint}\n"
            "[atelier-nvidia]\nname=NVIDIA\n"
            f"baseurl={choice.repository}\nenabled=1\ngpgcheck=1\nrepo_gpgcheck=0\n"
            f"gpgkey=file://{DNF_KEY}\n"
        }
    pin = f"{MARK}Package: *\nPin: release l=NVIDIA CUDA\nPin-Priority: 600\n"
    if choice.version:
        pin += f"\nPackage: {OF_THE_DRIVER}\nPin: version {choice.version}-*\nPin-Priority: 1001\n"
    return {
        APT_SOURCE: f"{MARK}# key {choice.fingerprint}\n"
        f"Types: deb\nURIs: {choice.repository}/\nSuites: /\nSigned-By: {APT_KEY}\n",
        APT_PIN: pin,
    }


def amd_files(choice: AmdChoice, manager: str) -> dict[str, str]:
    """Texts of the files for AMD's own driver, by path."""
    if manager == "dnf":
        return {
            AMD_DNF_SOURCE: f"{MARK}# key {choice.fingerprint}\n"
            "[atelier-amd]\nname=AMD\n"
            f"baseurl={choice.repository}/\nenabled=1\npriority=50\ngpgcheck=1\n"
            f"repo_gpgcheck=0\ngpgkey=file://{AMD_DNF_KEY}\n"
        }
    return {
        AMD_APT_SOURCE: f"{MARK}# key {choice.fingerprint}\n"
        f"Types: deb\nURIs: {choice.repository}\nSuites: {choice.suite}\nComponents: main\n"
        f"Architectures: amd64\nSigned-By: {AMD_APT_KEY}\n",
        AMD_APT_PIN: f"{MARK}Package: *\nPin: release o=repo.radeon.com\nPin-Priority: 600\n",
        AMD_UPGRADES: AMD_UPGRADES_TEXT,
    }


def toolkit_files(manager: str, repository: str, fingerprint: str) -> dict[str, str]:
    """Texts of the files for the container toolkit's packages, by path."""
    if manager == "dnf":
        return {
            TOOLKIT_DNF_SOURCE: f"{MARK}# key {fingerprint}\n"
            "[atelier-nvidia-toolkit]\nname=NVIDIA container toolkit\n"
            f"baseurl={repository}/stable/rpm/$basearch\nenabled=1\ngpgcheck=1\nrepo_gpgcheck=0\n"
            f"gpgkey=file://{TOOLKIT_DNF_KEY}\n"
        }
    return {
        TOOLKIT_APT_SOURCE: f"{MARK}# key {fingerprint}\n"
        f"Types: deb\nURIs: {repository}/stable/deb/$(ARCH)/\nSuites: /\n"
        f"Signed-By: {TOOLKIT_APT_KEY}\n"
    }
