"""Measuring: from an image to the projections or k-space rows one could take of it."""
