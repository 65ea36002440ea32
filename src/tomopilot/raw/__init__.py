"""Measured scans: from the files that instruments leave to line integrals."""
