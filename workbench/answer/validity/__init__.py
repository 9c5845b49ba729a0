"""What luck makes of an answer: nothing learned, runs that collapse, a lucky selection, several looks."""
