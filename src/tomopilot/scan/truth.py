"""What is scanned of an image by name, and images that policies are given by name."""

import torch
from jaxtyping import Float
from torch import Tensor

from tomopilot.files.images import NamedImage, count_images, read_images
from tomopilot.measure.fourier import to_channels
from tomopilot.measure.kind import ROW
from tomopilot.measure.operator import Operator
from tomopilot.prior.phase import smooth_phase, with_phase
from tomopilot.randomness import stream

PHASE = 1.0  # radians, rms of the slow waves in the phase of simulated complex images
MOST = 1000  # images that a fixed order is learned on


def truth_of(image: NamedImage, operator: Operator, seed: int) -> Tensor:
    """What is scanned: the image itself; for MRI, a real one gets a random phase, from seed and name.

    Complex images are two channels, their real and their imaginary part.
    """
    if operator.kind is not ROW:
        return image.pixels
    if image.pixels.is_complex():
        return to_channels(image.pixels)
    if image.pixels.min() < 0:
        raise ValueError(
            f"{image.name} goes down to {image.pixels.min():g}, but MRI is simulated from magnitudes, which "
            "are 0 or more: rescale the image"
        )
    rng, pixels = stream(seed, "phase", image.name), image.pixels[None]
    return with_phase(pixels, smooth_phase(1, tuple(image.pixels.shape), PHASE, rng=rng))[0]


def read_roi(spec: object, operator: Operator) -> Float[Tensor, "h w"]:
    """The weight of each pixel, from the only image that `spec` names."""
    (image,) = _read("roi", spec, operator, most=1)
    return image.shown


def read_slices(spec: object, operator: Operator, seed: int) -> Float[Tensor, "k *image"]:
    """The images that `spec` names, as they would be scanned."""
    return torch.stack([truth_of(image, operator, seed) for image in _read("slices", spec, operator, MOST)])


def _read(option: str, spec: object, operator: Operator, most: int) -> list[NamedImage]:
    if not isinstance(spec, str) or not spec:
        raise ValueError(f'{option} is {spec!r}; expected the name of images in quotes: {option}="FILE"')
    if (count := count_images(spec)) > most:
        raise ValueError(f"{option} names {count} images; expected at most {most}: choose, as {spec}::0")
    images, expected = read_images(spec), tuple(operator.image_shape[-2:])
    for image in images:
        if tuple(image.pixels.shape) != expected:
            came = " x ".join(map(str, image.pixels.shape))
            raise ValueError(
                f"{option} {image.name} is {came} pixels, but {expected[0]} x {expected[1]} are scanned: "
                "crop or rescale it"
            )
    return images
