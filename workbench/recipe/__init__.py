"""What every recipe is, and what it is given."""
