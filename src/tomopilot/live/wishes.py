"""What operators may ask of a live scan, and whether it is granted."""

import math
from typing import Any

import torch

from tomopilot.experiment import Experiment
from tomopilot.files.logbook import Wish
from tomopilot.live.ledger import Ledger

WISHES = {
    "stop": "nothing more is exposed; what is outstanding may still be told",
    "pause": "nothing is suggested until it is resumed",
    "resume": "suggestions go on",
    "force": "the next suggestion is the angle nearest to `angle` (degrees)",
    "uniform": "the rest is measured in uniform order",
    "adaptive": "the policy chooses again",
}


def granted(wish: Wish, ledger: Ledger, experiment: Experiment) -> dict[str, Any]:
    """Whether a wish is granted, why not, and the angle that was forced."""
    if wish.name not in WISHES:
        return {"granted": False, "why": f"{wish.name!r} is unknown; known are {', '.join(WISHES)}"}
    if ledger.over:
        return {"granted": wish.name == "stop", "why": f"the scan is {ledger.mode} already"}
    if wish.name == "force":
        return _forced(wish.content.get("angle"), ledger, experiment)
    return {"granted": True}


def _forced(angle: Any, ledger: Ledger, experiment: Experiment) -> dict[str, Any]:
    """The design nearest to an angle that an operator wants."""
    operator = experiment.operator
    number = isinstance(angle, int | float) and not isinstance(angle, bool) and math.isfinite(angle)
    if not number:
        return {"granted": False, "why": f"the angle is {angle!r}; expected degrees"}
    design = int(torch.as_tensor(operator.kind.apart(operator.shown, float(angle))).argmin())
    nearest = operator.shown[design].item()
    if design in experiment.pending or design in ledger.forced:
        return {"granted": False, "why": f"{nearest:g} degrees are asked for already"}
    if design in ledger.unusable:
        return {"granted": False, "why": f"{nearest:g} degrees are unusable: {ledger.unusable[design]}"}
    return {"granted": True, "design": design, "angle": nearest}
