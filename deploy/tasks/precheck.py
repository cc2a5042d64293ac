"""Nothing is touched on any host if one of them cannot be deployed to."""

from functools import partial

from pyinfra import host, state
from pyinfra.api import OperationError

from deploy.artefacts import Artefacts
from deploy.facts import look
from deploy.hub.listing import COMMIT
from deploy.operations import precheck, verified
from deploy.operations.everywhere import ask_everywhere
from deploy.operations.hub import Key, commits_here, remember_commits
from deploy.operations.questions import questions, subject_of
from deploy.services.weights import distinct_weights
from deploy.tasks.current import current_deployment
from deploy.tasks.once import is_first


def check(deployment: Artefacts) -> None:
    """Docker, ports, memory, disk and declared GPUs, of all hosts before any of them goes on.

    Raises:
        OperationError: what is wrong with each host that cannot be deployed to.
    """
    # without a dry run before it (-y), hosts are looked at when the operation is executed
    if state.should_check_for_changes():
        remember_commits(ask_everywhere(_commits))
        refusals = ask_everywhere(_refusal)
        if any(refusals):
            raise OperationError("\n".join(filter(None, refusals)))
    else:
        if _share_branches(deployment):
            remember_commits(ask_everywhere(_commits))
        look.will_ask(questions(deployment, host.name))
    precheck.passed(
        name="Check the host",
        deployment=deployment.plan.name,
        subject=subject_of(deployment, host.name),
        secrets=deployment.secrets,
        meanwhile=partial(verified.sign_in_early, deployment) if is_first() else None,
    )


def _share_branches(deployment: Artefacts) -> bool:
    """Whether hosts must agree on what a branch stands for."""
    branches = [
        each.name
        for name in {unit.host for unit in deployment.stack.units}
        for each in distinct_weights(deployment.stack.on(name))
        if not COMMIT.fullmatch(each.revision)
    ]
    return len(branches) > len(set(branches))


def _commits() -> dict[Key, str]:
    """What branches stand for on a host; the first look at it."""
    deployment = current_deployment()
    look.will_ask(questions(deployment, host.name))
    return commits_here(subject_of(deployment, host.name).weights)


def _refusal() -> str:
    deployment = current_deployment()
    subject = subject_of(deployment, host.name)
    return precheck.refusal(deployment.plan.name, subject, deployment.secrets)
