"""Scripts that make and check data sets. For a new one, see docs/data-sets.md."""
