"""What a dataset is made of, verified: every step back to real data, seals, and what was withdrawn."""
