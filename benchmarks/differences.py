"""PSNR of one method minus another's on the same images, mean and two standard errors per count.

.venv/bin/python benchmarks/differences.py RUN/results.csv auto+variance auto+uniform [FIRST SECOND ...]

A name may come from another file: OTHER/results.csv::prox+uniform.
"""

import csv
import math
import sys
from itertools import islice

from tomopilot.scan.summary import mean_and_two_se


def read(path: str, name: str) -> dict[tuple[int, str], float]:
    """PSNR by count and image of the method `posterior+policy`."""
    other, elsewhere, method = name.rpartition(".csv::")
    with open(f"{other}.csv" if elsewhere else path, newline="") as file:
        rows = [row for row in csv.DictReader(file) if f"{row['posterior']}+{row['policy']}" == method]
    return {(int(row["count"]), row["image"]): float(row["psnr"]) for row in rows if row["psnr"]}


path, *names = sys.argv[1:]
for first, second in zip(islice(names, 0, None, 2), islice(names, 1, None, 2), strict=True):
    ours, others = read(path, first), read(path, second)
    shared = sorted(ours.keys() & others.keys())
    print(f"{first} minus {second}")
    for count in sorted({count for count, _ in shared}):
        apart = [ours[key] - others[key] for key in shared if key[0] == count]
        mean, error = mean_and_two_se(apart)
        error = math.nan if error is None else error
        print(f"  {count:3}  {mean:+.2f} ± {error:.2f} dB over {len(apart)} images")
