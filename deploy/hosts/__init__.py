"""Hosts: what they are like, what is wrong with them and what follows; free of pyinfra."""
