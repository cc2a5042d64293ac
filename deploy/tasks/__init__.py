"""Tasks: the operations of one concern, in order."""
