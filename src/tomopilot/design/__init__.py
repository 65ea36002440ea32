"""Experimental design: from posterior samples to the next measurement."""
