"""What Docker on a host says, asked once however many questions of a look need it.

A docker command costs the host 30 ms, so all that need no other's answer run at the same time. Each
question that needs ``ENGINE`` begins with it, so that it can be asked alone; a look begins with it
too, and then they find everything in variables.
"""

from __future__ import annotations

import shlex

from pyinfra.api import FactBase

from deploy.services.container import LABEL_DEPLOYMENT, LABEL_HOLDS, LABEL_SERVICE

IS_PODMAN = "docker --version 2>/dev/null | grep -qi podman"
"""Shell condition: the ``docker`` command is Podman's, which does not know all that is asked."""
ASK_ENGINE = (
    f"command -v docker >/dev/null 2>&1 && docker version >/dev/null 2>&1 && ! {{ {IS_PODMAN}; }}"
)
ENGINE_ANSWERS = (
    f'case "${{atelier_docker:-}}" in yes) true ;; no) false ;; *) {ASK_ENGINE} ;; esac'
)
"""Shell condition: there is a Docker, and it answers."""
UNLESS_ENGINE = f"{{ {ENGINE_ANSWERS}; }} || exit 0"
"""A host without Docker has nothing: in a dry run it is still to be installed or started."""
OWNER = f'{{{{.Label "{LABEL_DEPLOYMENT}"}}}}'
INFO = (
    "info {{.ServerVersion}}|{{.DockerRootDir}}|"
    '{"version":{{json .ServerVersion}},"running":{{.ContainersRunning}},'
    '"swarm":{{json .Swarm.LocalNodeState}},'
    '"root":{{json .DockerRootDir}},"os":{{json .OperatingSystem}},'
    '"kernel":{{json .KernelVersion}},'
    '"pools":{{json .DefaultAddressPools}},"driver":{{json .DriverStatus}},'
    '"cgroups":{{json .CgroupDriver}},"security":{{json .SecurityOptions}}}'
)
# What live_container reads of a container; the environment is left out, because it holds secrets.
CONTAINER = (
    '{"Name":{{json .Name}},"Image":{{json .Image}},'
    '"State":{"Status":{{json .State.Status}},"StartedAt":{{json .State.StartedAt}},'
    '"FinishedAt":{{json .State.FinishedAt}},'
    '"Health":{{if .State.Health}}{"Status":{{json .State.Health.Status}}'
    '{{if eq .State.Health.Status "unhealthy"}},"Log":{{json .State.Health.Log}}{{end}}}'
    "{{else}}null{{end}}},"
    '"HostConfig":{"RestartPolicy":{{json .HostConfig.RestartPolicy}},'
    '"Memory":{{json .HostConfig.Memory}}},'
    '"NetworkSettings":{"Networks":{{json .NetworkSettings.Networks}}},'
    '"Config":{"Labels":{{json .Config.Labels}}}}'
)
OF = f'{{{{index .Config.Labels "{LABEL_DEPLOYMENT}"}}}}'
HOLDS = f'{{{{index .Config.Labels "{LABEL_HOLDS}"}}}}'
INSPECT = (
    f"ports {OF} {{{{json .HostConfig.PortBindings}}}}{{{{println}}}}"
    f"holds {OF} {HOLDS}{{{{println}}}}container {OF} {CONTAINER}"
)
"""Three rows for each container."""


def _ls(kind: str, form: str, *more: str) -> str:
    return shlex.join(["docker", kind, "ls", *more, "--format", form])


NETWORKS = _ls("network", f"network {{{{.Name}}}} {OWNER}")
VOLUMES = _ls("volume", f"volume {{{{.Name}}}} {OWNER}")
IMAGES = _ls(
    *("image", "image {{.Repository}}:{{.Tag}} {{.Repository}}@{{.Digest}} {{.ID}}"),
    *("--no-trunc", "--digests"),
)
CONTAINERS = _ls(
    *("container", f'row {{{{.Names}}}} {OWNER} {{{{.Label "{LABEL_SERVICE}"}}}}'),
    *("--all", "--filter", f"label={LABEL_DEPLOYMENT}"),
)
ENGINE = f"""
if [ -z "${{atelier_docker:-}}" ] && ! command -v docker >/dev/null 2>&1; then atelier_docker=no; fi
if [ -z "${{atelier_docker:-}}" ]; then
  # asks while those before it in a pipe ask, and passes on what they said
  also() {{
    said=$("$@" 2>&1) || said=$(printf '%s\\n' "$said" | sed 's/^/failed /')
    cat
    printf '%s\\n' "$said"
  }}
  images() {{ {IMAGES} || :; }}
  containers() {{
    rows=$({CONTAINERS}) || return 1
    set -- $(printf '%s\\n' "$rows" | cut -d ' ' -f 2)
    [ -z "$rows" ] || printf '%s\\n' "$rows"
    [ $# = 0 ] || docker container inspect --format {shlex.quote(INSPECT)} "$@" 2>/dev/null || :
  }}
  lines() {{ printf '%s\\n' "$atelier_said" | sed -n "$1"; }}
  atelier_said=$(
    # of what it does not know the beginning is printed, without an end of line
    {{ docker info --format {shlex.quote(INFO)} 2>/dev/null; echo; }} |
      also {NETWORKS} |
      also {VOLUMES} |
      also images |
      also containers
  )
  atelier_info=$(lines 's/^info //p')
  if [ -n "${{atelier_info%%|*}}" ] || {{ {ASK_ENGINE}; }}; then
    atelier_docker=yes
    atelier_failed=$(lines 's/^failed //p')
    [ -z "$atelier_failed" ] || {{ echo "$atelier_failed" >&2; exit 1; }}
    atelier_networks=$(lines '/^network /p')
    atelier_volumes=$(lines '/^volume /p')
    atelier_images=$(lines 's/^image //p')
    atelier_rows=$(lines 's/^row //p')
    atelier_containers=$(lines '/^ports /p; /^holds /p; /^container /p')
  else
    atelier_docker=no
  fi
fi
""".strip()
"""Shell: rows of what there is, in variables; of the containers, those of any deployment."""


def show(name: str) -> str:
    """Shell command that prints the rows of a kind."""
    # echo would read the backslashes in them
    return f"printf '%s\\n' \"$atelier_{name}\""


def of_deployment(kind: str, deployment: str) -> str:
    """Shell command that prints of a deployment's containers: ports, holds, or container."""
    return f"{show('containers')} | sed -n {shlex.quote(f's/^{kind} {deployment} //p')}"


class Resources(FactBase[dict[str, str]]):
    """Deployments that the networks and volumes belong to, by ``<kind> <name>``.

    Empty of those that are not Atelier's.
    """

    def command(self) -> str:
        """Print a row for each network and volume."""
        return f"{ENGINE}\n{UNLESS_ENGINE}; {show('networks')}; {show('volumes')}"

    @staticmethod
    def default() -> dict[str, str]:
        """Nothing."""
        return {}

    def process(self, output: list[str]) -> dict[str, str]:
        """Parse the rows."""
        rows = [line.split() for line in output if line.startswith(("network ", "volume "))]
        return {" ".join(row[:2]): row[2] if len(row) > 2 else "" for row in rows}
