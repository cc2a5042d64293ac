"""What is done once for all hosts."""

from pyinfra import host, state


def is_first() -> bool:
    """Whether this is the first host of this run: it does what is done once.

    pyinfra's own ``_run_once`` takes whichever host is quickest, so that a run would differ from
    its dry run.
    """
    active = state.inventory.get_active_hosts()
    return host.name == next(each.name for each in state.inventory if each in active)
