"""The `atelier` command."""

import gc

# not while the command's modules are loaded: that is a fifth of the time it takes to answer
gc.disable()
