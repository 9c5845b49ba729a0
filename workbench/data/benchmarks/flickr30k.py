"""Flickr30k (TACL 2014), image-text retrieval: Karpathy's split with 1,000 test images, five captions
each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.data.annotations.assemble import Benchmark, read, videos
from workbench.data.annotations.families import karpathy, singularity
from workbench.data.digests import Digests
from workbench.data.index import PICTURES, Index

if TYPE_CHECKING:
    from workbench.config import DataConfig

__all__ = ["SOURCE", "index", "videos"]

SOURCE = "Flickr30k's images and captions"
TASKS = {"": ("caption_sets",)}


def index(data: DataConfig, source: str | None, digests: Digests) -> Index:
    benchmark = Benchmark(
        name=data.name,
        kinds=PICTURES,
        families=(
            karpathy("dataset_flickr30k.json"),
            singularity("flickr30k_train.json", "flickr30k_test.json", "flickr30k_val.json"),
        ),
        near={"results_20130124.token|results.csv": "has captions without the split of published results"},
        layout="flickr30k-images/{}.jpg",
        protocol="Karpathy's split, every caption of a test image a query",
        published={"test clips": 1000},
        source="the protocol as Singularity, VLC and ViLT have it",
    )
    return read(benchmark, source, digests)
