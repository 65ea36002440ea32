"""One scan, whoever measures: names to parts, the durable scan, the judge of virtual ones."""
