"""What a study says: results, comparisons, effects, caveats."""
