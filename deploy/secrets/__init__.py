"""Secrets: declared or made up once, kept in a file, changed, and hidden in what is printed."""

from deploy.secrets.load import load_secrets, needed_secrets
from deploy.secrets.store import ALWAYS, SecretStore

__all__ = ["ALWAYS", "SecretStore", "load_secrets", "needed_secrets"]
