"""The posterior: from data to sample images."""
