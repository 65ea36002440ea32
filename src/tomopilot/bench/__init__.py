"""Comparisons of methods: grids of runs, the paper's figures and ours, and their reports."""
