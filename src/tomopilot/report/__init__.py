"""From rows to pages, pictures and tables."""
