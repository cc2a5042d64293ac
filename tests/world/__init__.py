"""Hosts that remember: whole runs of pyinfra, one after the other, in a made-up world.

The real scripts run, in a shell of this machine, with a Docker and a systemd whose state is a file.
They are as strict as the real ones where changes depend on it: a port has one owner, the shares of
a GPU's memory do not exceed it, nor do the limits of memory the host's where an engine starts,
what is mounted must be there. What else a run asks of a host is
answered as by one that has it already.
"""
