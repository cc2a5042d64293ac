"""Units of bytes."""

MIB = 1024**2
GIB = 1024**3
MB = 1000**2
"""What disks, files and transfers are counted in."""
