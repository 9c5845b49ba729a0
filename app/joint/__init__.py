"""The view Compare over several studies: `studies`."""
