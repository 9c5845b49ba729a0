"""Targets of masked prediction: `pixels`, gradients (`hog`), true motion, features of a teacher."""

from workbench.targets.pixels import OF_COLOURS as OF_COLOURS
from workbench.targets.pixels import OF_PATCHES as OF_PATCHES
from workbench.targets.pixels import denormalised_patches as denormalised_patches
from workbench.targets.pixels import denormalised_pixels as denormalised_pixels
from workbench.targets.pixels import normalised_patches as normalised_patches
from workbench.targets.pixels import normalised_pixels as normalised_pixels
