"""Guidances: each turns a denoiser of the prior into a denoiser of the posterior."""
