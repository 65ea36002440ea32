"""Scans of known images: a simulated instrument, and the truth to judge by."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tomopilot.design.trust import Trust
from tomopilot.files.images import NamedImage, read_images
from tomopilot.files.volumes import is_volume, read_volume
from tomopilot.files.voxels import check_zarr
from tomopilot.measure.lowres import LowRes
from tomopilot.measure.noise import Gaussian, Noise
from tomopilot.measure.operator import Operator
from tomopilot.measure.stack import Scouts, Stack, over_height
from tomopilot.prior.checkpoint import Prior
from tomopilot.prior.denoiser import in_range
from tomopilot.randomness import stream
from tomopilot.records import Data
from tomopilot.scan.assemble import Parts, assemble, margin, noise_of, operator_of, policy, prior_of
from tomopilot.scan.judge import Judge
from tomopilot.scan.notices import Look
from tomopilot.scan.parts import SEQUENTIAL, family, rule
from tomopilot.scan.plan import Plan, Scan
from tomopilot.scan.replayed import Replayed, is_recorded, read_recorded
from tomopilot.scan.truth import truth_of
from tomopilot.simulate.instrument import Simulated

FIRST = 8  # measurements that the noise is compared with
DROWNED = 1e-3  # signal to noise below which noise is a mistake
PRESCANNED = 0.01  # noise of a pre-scan, of its root mean square
SCOUTS = 4  # slices that a volume is usually scanned by


@dataclass(frozen=True)
class Virtual:
    """A scan of a known image, ready to run."""

    instrument: Simulated | Replayed
    parts: Parts
    judge: Judge
    scouts: Scouts | None = None  # of a volume, whose other slices are judged once the scan is over

    @property
    def simulated(self) -> Simulated:
        """The instrument that measures a known image."""
        if isinstance(self.instrument, Replayed):
            raise ValueError(f"{self.instrument.name} is a measured scan; expected a known image")
        return self.instrument

    def noise(self, design: int) -> Noise | None:
        """Of a single measurement, where that has its own."""
        return self.instrument.noise(design) if isinstance(self.instrument, Replayed) else None


def virtual(plan: Plan, scan: Scan) -> Virtual:
    """Reads the image and assembles the scan of it."""
    image = image_of(plan, scan.image)
    if isinstance(image, Replayed):
        return _replayed(plan, scan, image)
    operator = operator_of(plan, image).to(plan.device)
    truth = truth_of(image, operator, plan.seed).to(plan.device)
    exact = Simulated(truth, operator, Gaussian(), finer=plan.finer).clean(torch.arange(len(operator)))
    noise = noise_of(plan.noise, exact, image.pixels.shape[-2])
    name = plan.label(scan.image)
    names = image.slices or name
    instrument = Simulated(truth, operator, noise, seed=plan.seed, finer=plan.finer, name=names)
    span = (image.shown.max() - image.shown.min()).item() or 1.0
    if isinstance(operator, Stack):
        scouts = Scouts(operator, over_height(plan.scouts or SCOUTS, operator.slices))
        seen = truth[list(scouts.numbers)]
        parts = assemble(plan, scan, scouts.operator, noise, span, truth=seen, slices=scouts.numbers)
        return Virtual(instrument, parts, Judge(replace(plan, at=()), scan, parts), scouts)
    parts = assemble(plan, scan, operator, noise, span, prescan(plan, truth, name), truth)
    return Virtual(instrument, parts, Judge(plan, scan, parts, truth))


def _replayed(plan: Plan, scan: Scan, image: Replayed) -> Virtual:
    """The scan of a measured one; it is judged by the reconstruction from all of its projections.

    Where these are taken one after the other, that is no judge of the estimate from them.
    """
    truth, span = image.pixels.to(plan.device), (image.pixels.max() - image.pixels.min()).item() or 1.0
    parts = assemble(plan, scan, image.operator.to(plan.device), image.usual, span, truth=truth)
    judged = rule(scan.method.policy) != SEQUENTIAL
    return Virtual(image, parts, Judge(plan, scan, parts, truth if judged else None))


def prescan(plan: Plan, truth: Tensor, name: str) -> Data | None:
    """What a low-resolution image shows of the truth before the scan, where the plan has one."""
    if plan.prescan is None:
        return None
    operator = LowRes(len(truth), plan.prescan).to(truth.device)
    (clean,) = operator.forward(truth[None])[0]
    noise = Gaussian(PRESCANNED * clean.square().mean().sqrt().item(), floor=1e-6)
    seen = noise.sample(clean, rng=stream(plan.seed, "prescan", name))
    return Data(operator.image_shape, truth.device).add(operator, 0, seen, noise)


def image_of(plan: Plan, spec: str) -> NamedImage:
    """A single image, a volume or a measured scan; the plan knows its pixel size better than its file."""
    if is_recorded(spec):
        prior = next((method.prior for method in plan.methods if method.prior), None)
        whole = all(rule(method.policy) == SEQUENTIAL for method in plan.methods)
        image = read_recorded(spec, plan.bins, prior, stripes=plan.stripes, whole=whole)
    else:
        (image,) = [read_volume(spec)] if is_volume(spec) else read_images(spec)
    return replace(image, pixel_size=plan.pixel_size or image.pixel_size)


def check(plan: Plan) -> list[Look]:
    """Reads every image and prior once: a wrong one is rejected before the first scan."""
    return [_check_scans(plan, spec) for spec in plan.images]


def _check_scans(plan: Plan, spec: str) -> Look:
    if is_volume(spec):
        check_zarr()
    image = image_of(plan, spec)
    operator = operator_of(plan, image)
    if plan.prescan is not None:
        LowRes(len(image.pixels), plan.prescan)
    if plan.budget > len(operator):
        raise ValueError(
            f"the budget is {plan.budget} measurements, but {operator!r} of {spec} has "
            f"{len(operator)}; expected 1 to {len(operator)}"
        )
    signal = signal_to_noise(plan, image, operator)
    if signal < DROWNED:
        raise ValueError(
            f"noise {plan.noise} drowns {image.name}: its signal to noise is {signal:.1g}, at least "
            f"{DROWNED:g} is expected; use less noise"
        )
    for method in plan.methods:
        prior = prior_of(method, plan.device)
        if prior is not None:
            check_image(image, prior, operator)
        if plan.certain is not None:
            margin(method, Trust.from_card(prior.card) if prior else Trust())
        policy(plan, Scan(spec, method), operator, truth_of(image, operator, plan.seed))
    return Look(image.name, image.pixels.shape[-1], image.pixel_size, signal, image.notes)


def signal_to_noise(plan: Plan, image: NamedImage, operator: Operator) -> float:
    """Root mean square, over the first measurements, of a value over its noise; infinite without a signal."""
    if isinstance(image, Replayed):
        return image.signal_to_noise
    first = torch.tensor(family(plan.operator).opening(operator)[:FIRST])
    clean = operator[first].forward(truth_of(image, operator, plan.seed)[None])
    noise = noise_of(plan.noise, clean, image.pixels.shape[-2])
    shares = clean.abs().square() * noise.precision(clean)
    return shares.mean().sqrt().item() if clean.any() else math.inf


def check_image(image: NamedImage, prior: Prior, operator: Operator) -> None:
    """Raises where the prior cannot take the image: real or complex, its size, or its intensities."""
    prior.check_shape(operator.operator.image_shape if isinstance(operator, Stack) else operator.image_shape)
    if isinstance(image, Replayed):
        return  # its notes say how much of it is beyond the prior's range
    low, high = image.shown.min().item(), image.shown.max().item()
    lowest = prior.high - prior.peak
    if not in_range(low, high, (lowest, prior.high)):
        raise ValueError(
            f"{image.name} has values from {low:g} to {high:g}, but the prior {prior.card.get('name')!r} "
            f"knows images in [{lowest:g}, {prior.high:g}] ({prior.card.get('unit', 'no unit stated')}): "
            "rescale the image"
        )
