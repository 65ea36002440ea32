"""The prior: from a noisy image and its noise level to the expected clean image."""
