"""What differs on a host from what is wanted, and in which order it is changed; pure."""
