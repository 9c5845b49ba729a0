"""The parts of the view Predictions, a file for each thing that models predict: `show(asked)`."""
