"""Augmentation of training frames: random crops, mirroring and colour jitter. numpy only."""
