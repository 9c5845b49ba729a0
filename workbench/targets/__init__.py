"""What a hidden position must predict: `pixels`, gradients (`hog`), true motion, features of a teacher."""

from workbench.targets.pixels import normalised_patches as normalised_patches
from workbench.targets.pixels import normalised_pixels as normalised_pixels
