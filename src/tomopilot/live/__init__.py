"""A scan of a real instrument: what is asked, told and decided, and its record."""
