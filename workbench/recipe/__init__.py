"""The base of every recipe, its inputs, and parts that several recipes share."""
