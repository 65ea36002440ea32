"""What a training leaves to look at: a sheet of samples beside training slices, and the validation curve."""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from tomopilot.files.images import read_images
from tomopilot.metrics import magnitude
from tomopilot.posterior.solvers import ddim
from tomopilot.prior.checkpoint import load_prior
from tomopilot.prior.schedule import ddpm
from tomopilot.prior.train import read_history
from tomopilot.randomness import stream


def read_stack(specs: Sequence[str]) -> Float[Tensor, "n h w"]:
    """All images of the specs; they must be square and of one size."""
    images = [image for spec in specs for image in read_images(spec)]
    shapes = sorted({tuple(image.pixels.shape) for image in images})
    if len(shapes) > 1 or shapes[0][0] != shapes[0][1]:
        raise ValueError(
            f"training images have the shapes {shapes}; expected squares of one size: crop or rescale them"
        )
    return torch.stack([image.pixels for image in images])


def write_sheets(folder: Path, images: Float[Tensor, "n h w"], device: str, *, count: int = 16) -> None:
    """`samples.png`: unconditional samples above training slices; `validation.png`: error per noise level."""
    from matplotlib.figure import Figure

    prior = load_prior(folder, device)
    sigmas = ddpm(50, prior.scale)
    shape = (count, 2, *images.shape[1:]) if prior.complex else (count, *images.shape[1:])
    noise = torch.randn(shape, generator=stream("sheet", "start")).to(device)
    samples = ddim(prior, sigmas[0].item() * noise, sigmas, eta=0.0, rng=stream("sheet", "noise")).cpu()
    samples, low = (magnitude(samples), 0.0) if prior.complex else (samples, prior.low)
    slices = images[torch.linspace(0, len(images) - 1, count).long()]
    figure = Figure((12, 6.6), layout="constrained")
    panels = figure.subplots(4, count // 2)
    for panel, picture in zip(panels.flat, torch.cat([samples, slices]), strict=True):
        panel.imshow(picture.numpy(), cmap="gray", vmin=low, vmax=prior.high)
        panel.set_axis_off()
    panels[0, 0].set_title("samples of the prior (50 steps)", loc="left")
    panels[2, 0].set_title("training slices", loc="left")
    figure.savefig(folder / "samples.png", dpi=110)

    history = read_history(folder)
    if not history:
        return
    figure = Figure((7, 4.2), layout="constrained")
    panel = figure.subplots()
    for level in history[-1]["validation"]:
        errors = [entry["validation"][level] for entry in history]
        panel.plot([entry["images_seen"] for entry in history], errors, marker=".", label=f"sigma {level}")
    panel.set(xlabel="images seen", ylabel="validation error (range -1 ... 1, squared)", yscale="log")
    panel.grid(alpha=0.3)
    panel.legend(fontsize="small", ncols=2)
    figure.savefig(folder / "validation.png", dpi=110)
