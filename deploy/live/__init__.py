"""What really runs, read through the container engine API: another witness than pyinfra."""
