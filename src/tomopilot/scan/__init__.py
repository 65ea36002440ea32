"""One scan, on any instrument: names to parts, the durable scan, the judge of simulated ones."""
