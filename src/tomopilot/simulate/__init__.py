"""Made-up specimens and measurements."""
