"""From rows to people: pages, pictures, tables."""
