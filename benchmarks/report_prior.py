"""Pictures of a trained prior, PRIOR-samples.png and PRIOR-validation.png, and what they show as numbers.

.venv/bin/python benchmarks/report_prior.py PRIOR docs/priors VALIDATION TRAINING ...

The numbers, which the prior's card takes up: the error of the linear denoiser of the training slices at each
noise level, and how like a training window the middles of 16 samples and of 16 validation slices are.
"""

import sys
from pathlib import Path

from tomopilot.files.slices import read_slices
from tomopilot.prior.checkpoint import prior_folders
from tomopilot.report.prior_sheet import report_prior

name, out, validation, *training = sys.argv[1:]
folder = prior_folders().get(name)
if folder is None:
    sys.exit(f"{name} is unknown; the known priors are {', '.join(prior_folders())}")
facts = report_prior(folder, read_slices(training), read_slices([validation]), "cpu")
for picture in folder.glob("*.png"):
    picture.replace(Path(out) / f"{name}-{picture.name}")
for fact, value in facts.items():
    print(fact, value)
