"""Settings of pyinfra itself."""

from pyinfra import config

# one failed host stops the run: what depends on it must not be deployed
config.FAIL_PERCENT = 0
