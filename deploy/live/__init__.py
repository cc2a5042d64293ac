"""What really runs, read through Docker's API: another witness than pyinfra."""
