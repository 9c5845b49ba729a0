"""Batches on their way to the device."""

from __future__ import annotations

import torch

from workbench.recipe.batch import Batch


class Transfer:
    """Brings batches to a device; to a GPU on a stream of its own, beside what is computed there."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def __call__(self, batch: Batch) -> Batch:
        """The batch on the device, to be used on its present stream; the host waits for nothing."""
        if self.stream is None:
            return batch.to(self.device)
        with torch.cuda.stream(self.stream):
            there = batch.to(self.device)
        computing = torch.cuda.current_stream(self.device)
        computing.wait_stream(self.stream)
        for tensor in there.tensors:  # whose memory is not given to the next batch before it is read
            tensor.record_stream(computing)
        return there
