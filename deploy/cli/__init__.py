"""The `atelier` command: one module per verb, imported when the verb is used."""
