"""Scans of known volumes, once they have ended: all slices reconstructed, and judged by the truth."""

import math
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tomopilot.files.archive import Archive
from tomopilot.files.volumes import is_volume
from tomopilot.files.voxels import create_store, read_slice
from tomopilot.measure.noise import from_words
from tomopilot.metrics import psnr_at, rmse, ssim
from tomopilot.prior.checkpoint import folder_of, read_card
from tomopilot.scan.judge import Row
from tomopilot.scan.outputs import described, own_name, provenance, write_file
from tomopilot.scan.parts import Method, entry, family
from tomopilot.scan.plan import Plan, Scan
from tomopilot.scan.spread import SCANS
from tomopilot.scan.virtual import Virtual, virtual
from tomopilot.scan.volume import Volume, reconstruct

STORE = "volume.zarr"


def judge_volumes(
    plan: Plan, facts: Mapping[str, Any], archive: Archive, pool: Executor | None = None
) -> Iterator[str]:
    """Completes the rows of scans of volumes, at each judged count; says how far it is.

    Leaves the frames and the last reconstruction of each. What is done already is not done again.
    """
    for scan in plan.scans:
        if is_volume(scan.image):
            yield from _judge(plan, scan, facts, archive, pool)
    with suppress(OSError):
        (archive.path.parent / SCANS).rmdir()


def _judge(
    plan: Plan, scan: Scan, facts: Mapping[str, Any], archive: Archive, pool: Executor | None
) -> Iterator[str]:
    out, cell, rows = archive.path.resolve().parent, virtual(plan, scan), archive.steps(scan.key)
    assert cell.scouts is not None
    told = provenance(described(plan, cell.scouts.whole.kind, facts) | asdict(scan.method))
    about = {"name": plan.label(scan.image), "provenance": told}
    frames, kept = (out / own_name(plan, scan, name) for name in ("scan.h5", STORE))
    if not frames.exists():
        write_file(frames, plan, scan, archive, told)
    for row in rows:
        count, last = row["count"], row["count"] == len(rows)
        if not (last or (plan.judges(count) and row["rmse"] is None)):
            continue
        store = kept if last else out / SCANS / f"{count}-{kept.name}"
        volume = volume_of(plan, scan, archive, cell, row, frames, store)
        size, angles = facts["pixel_sizes"].get(plan.label(scan.image)), volume.operator.shown.tolist()
        known = {**about, "angles_deg": angles}
        create_store(store, cell.scouts.whole.image_shape, known, unit=_unit(scan), pixel_size=size)
        for ready in reconstruct(volume, pool):
            yield f"{plan.named(scan)}, {count} measured: {ready} of {volume.slices} slices"
        found = quality(store, cell.simulated.image.cpu(), cell.parts.peak)
        archive.add_step(scan.key, count, row | found)
        if not last:
            shutil.rmtree(store)


def _unit(scan: Scan) -> str:
    """Of the values of an image, as far as the prior says."""
    prior = scan.method.prior
    return read_card(folder_of(prior)).get("unit", "") if prior else ""


def volume_of(
    plan: Plan, scan: Scan, archive: Archive, cell: Virtual, row: Row, frames: Path, store: Path
) -> Volume:
    """What the measurements up to a row say of all slices; without the prior, where that was left."""
    assert cell.scouts is not None
    count, method, usual = row["count"], scan.method, family(plan.operator)
    if row["without_prior"] is not None and entry(method.estimator).needs_prior:
        method = Method(usual.bare, usual.order, prior=None)
    operator, noise = cell.scouts.whole.operator.to("cpu"), cell.parts.experiment.noise
    own, taken = operator.settings.tolist(), []
    for block in islice(archive.each_block(scan.key), count):
        setting = own[block.design] if block.setting is None else block.setting
        taken.append((setting, from_words(block.noise) if block.noise else noise))
    order = sorted(range(count), key=lambda place: taken[place][0])
    settings, noises = zip(*(taken[place] for place in order), strict=True)
    return Volume(
        frames,
        store,
        cell.scouts.whole.slices,
        operator.at(settings),
        noises,
        tuple(order),
        method,
        plan.count,
        plan.seed,
        plan.device,
    )


def quality(store: Path, truth: Float[Tensor, "z h w"], peak: float) -> Row:
    """How good a reconstruction is, over all slices; SSIM is that of the slices in the mean."""
    errors, alike, spreads, seconds = [], [], [], []
    for number, known in enumerate(truth):
        found = read_slice(store, number)
        guess = torch.from_numpy(found.estimate)
        errors.append(rmse(guess, known) ** 2)
        alike.append(ssim(guess, known, peak))
        spreads.append(float(found.uncertainty.mean()))
        seconds.append(float(found.seconds))
    error, spread = math.sqrt(fmean(errors)), fmean(spreads)
    reached = psnr_at(error, peak)
    return {
        "psnr": reached if math.isfinite(reached) else None,
        "ssim": fmean(alike),
        "rmse": error,
        "spread": None if math.isnan(spread) else spread,
        "estimate_seconds": sum(seconds),
    }
