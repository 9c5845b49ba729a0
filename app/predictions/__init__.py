"""Parts of the view Predictions, one file for each kind of prediction: `show(asked)`."""
