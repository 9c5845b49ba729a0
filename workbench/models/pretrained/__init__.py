"""Published weights: where they are found and how encoders take them over; one module for each family."""
