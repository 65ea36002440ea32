"""Curves of methods from several comparisons in one picture.

.venv/bin/python benchmarks/curves.py psnr "PSNR (dB)" PICTURE.png RUN::soft+uniform RUN::hard+uniform ...

The first word is a metric of the summary's curves: psnr, ssim or estimate_seconds.
"""

import json
import sys
from pathlib import Path

from tomopilot.report.plots import curves

metric, label, picture, *named = sys.argv[1:]
methods = {}
for run, name in (word.split("::") for word in named):
    for entry in json.loads((Path(run) / "summary.json").read_text())["methods"]:
        if f"{entry['posterior']}+{entry['policy']}" == name:
            methods[f"{entry['posterior']} + {entry['policy']}"] = entry
Path(picture).write_bytes(curves(methods, metric, label))
