"""Macs: what one is like, whether it can be deployed to, and what is set up on it."""
