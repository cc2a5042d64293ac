"""Settings of pyinfra itself."""

FAIL_PERCENT = 0
"""One failed host stops the run: what depends on it must not be deployed."""
