"""COCO captions (arXiv:1504.00325), image-text retrieval: Karpathy's split with 5,000 test images, the 5k
test.

The 1k test, a mean over five folds of the 5k test, is another protocol and is not measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.data.annotations.assemble import Benchmark, read, videos
from workbench.data.annotations.families import karpathy, singularity
from workbench.data.digests import Digests
from workbench.data.index import PICTURES, Index

if TYPE_CHECKING:
    from workbench.config import DataConfig

__all__ = ["SOURCE", "index", "videos"]

SOURCE = "COCO's images and captions"
TASKS = {"": ("caption_sets",)}


def index(data: DataConfig, source: str | None, digests: Digests) -> Index:
    benchmark = Benchmark(
        name=data.name,
        kinds=PICTURES,
        families=(
            karpathy("dataset_coco.json"),
            singularity("coco_train.json", "coco_test.json", "coco_val.json"),
        ),
        near={
            "captions_*2014.json|captions_*2017.json": "is split in another way than retrieval is tested by"
        },
        layout="val2014/{}.jpg",
        protocol="Karpathy's split, the 5k test, every caption of a test image a query",
        published={"test clips": 5000},
        source="the protocol as Singularity, VLC and ViLT have it",
    )
    return read(benchmark, source, digests)
