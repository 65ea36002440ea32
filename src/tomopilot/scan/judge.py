"""From the steps of a scan to rows: quality, time, certainty."""

import math
import time
from collections.abc import Callable, Mapping, Set
from dataclasses import asdict
from typing import Any

import torch
from jaxtyping import Inexact
from torch import Tensor

from tomopilot.design.trust import expected_rmse
from tomopilot.metrics import psnr, rmse, ssim
from tomopilot.records import Draws, Step
from tomopilot.scan.assemble import Parts, Watched
from tomopilot.scan.plan import Plan, Scan

Row = dict[str, Any]


def seconds(watched: Set[Watched]) -> float:
    """That all of them spent."""
    return sum(one.seconds for one in watched)


class Judge:
    """Turns the steps of one scan into rows, with clocks; `truth` is what was scanned, where it is known."""

    def __init__(self, plan: Plan, scan: Scan, parts: Parts, truth: Tensor | None = None) -> None:
        self.plan, self.scan, self.parts, self.truth = plan, scan, parts, truth
        self.operator = parts.experiment.operator

    def row(self, take: Callable[[], Step]) -> Row:
        """The row of one step, `take` being what measures, decides and returns it."""
        parts, plan = self.parts, self.plan
        begun, choices = self._so_far(), parts.chooser.evaluations
        estimators = {parts.estimator, parts.bare}
        looks, looked = parts.estimator.evaluations, seconds(estimators)
        step = take()
        told = parts.experiment.told[-1]
        raised = parts.experiment.raised
        decided, choices = self._so_far(), parts.chooser.evaluations - choices
        row: Row = {
            "image": plan.label(self.scan.image), **asdict(self.scan.method), "seed": plan.seed,
            "count": step.count, "design": step.design,
            "setting": self.operator.at([step.setting]).shown.item(), "setting_unit": self.operator.kind.unit,
            "psnr": None, "ssim": None, "rmse": None, "spread": None, "seconds": step.seconds,
            "network_evaluations": choices, "estimate_seconds": None,
            "choose_evaluations": choices, "estimate_evaluations": None,
            "expected_rmse": None, "surprise": told.surprise, "moves": told.moves,
            "deviations": in_numbers(told.deviations),
            "alarm": raised and raised.at, "alarm_by": raised and raised.by,
            "worse": told.worse, "without_prior": parts.experiment.without_prior,
        }  # fmt: skip
        if plan.judges(step.count) or step.next is None:
            row |= self.judged(step.draws)
            row["estimate_seconds"] = seconds(estimators) - looked
            row["estimate_evaluations"] = parts.estimator.evaluations - looks
            shared = parts.chooser is parts.estimator
            row["network_evaluations"] = row["estimate_evaluations"] + (0 if shared else choices)
        if scouted := parts.experiment.scouted():
            row["expected_rmse"] = expected_rmse(self.picture(scouted.images))
        row["split"] = self._split(step, begun, decided)
        if step.next and step.next.scores is not None:
            row["scores"] = [None if math.isnan(score) else score for score in step.next.scores.tolist()]
        return row

    def picture(self, images: Tensor) -> Tensor:
        """Images as they are shown and judged."""
        return self.operator.kind.picture(images)

    def judged(self, draws: Draws) -> Row:
        """How good an estimate is; without a truth, its spread alone."""
        images = self.picture(draws.images)
        found: Row = {"spread": images.std(0).mean().item() if len(images) > 1 else None}
        if self.truth is None:
            return found
        guess, truth = map(self.picture, (draws.guess, self.truth))
        quality = psnr(guess, truth, self.parts.peak)
        return found | {
            "psnr": quality if math.isfinite(quality) else None,  # JSON knows no infinity
            "ssim": ssim(guess, truth, self.parts.peak),
            "rmse": rmse(guess, truth),
        }

    def _so_far(self) -> dict[str, float]:
        """Clocks whose differences make a row."""
        drawn = seconds({self.parts.chooser, self.parts.estimator, self.parts.bare})
        network = self.parts.meter.seconds if self.parts.meter else 0.0
        return {"drawn": drawn, "network": network, "now": time.perf_counter()}

    def _split(self, step: Step, begun: Mapping[str, float], decided: Mapping[str, float]) -> Row:
        """What the seconds of a step were spent on."""
        ended = self._so_far()
        drawn, network = (ended[key] - begun[key] for key in ("drawn", "network"))
        projection = max(0.0, step.seconds - (decided["drawn"] - begun["drawn"])) if step.next else 0.0
        rest = ended["now"] - begun["now"] - drawn - projection
        return {"network": network, "consistency": drawn - network, "projection": projection, "rest": rest}


def in_numbers(values: Inexact[Tensor, "*block"] | None) -> list | None:
    """Deviations as a row has them, see `rounded`; complex ones as two reals."""
    if values is None:
        return None
    real = torch.view_as_real(values) if values.is_complex() else values
    return real.double().round(decimals=3).tolist()


def from_numbers(values: list | None, complex_values: bool) -> Inexact[Tensor, "*block"] | None:
    """The inverse of `in_numbers`."""
    if values is None:
        return None
    real = torch.tensor(values)
    return torch.view_as_complex(real) if complex_values else real
