"""Parts that choose what is read further: patches, frames, regions."""
