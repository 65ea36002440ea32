"""From volumes, or a chip's own layout, to images to train a prior on."""
