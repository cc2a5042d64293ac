"""Facts: what a host is like."""
