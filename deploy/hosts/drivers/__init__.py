"""Drivers of GPUs on a host: what is there, what should be, and how it comes about. Pure."""
