"""Builders of networks."""
