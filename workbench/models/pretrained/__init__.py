"""Published weights: where they lie, and what an encoder takes over of them, a module for each family."""
