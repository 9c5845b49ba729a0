"""What training sees of the frames that a step takes: a part, mirrored, in other colours. numpy only."""
