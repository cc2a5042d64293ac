"""What follows from what is declared: what fits, and what runs where."""
