"""Ways to project an image and back: ours beside other people's. Each makes a call that does both once."""

import math
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from tomopilot.measure.radon import Radon

Image: TypeAlias = Float[Tensor, "h w"]
Angles: TypeAlias = Float[Tensor, " n"]
Both = Callable[[], tuple[Tensor, Tensor]]  # projections (n, w), and their back-projection (h, w)


def sparse_matrix(x: Image, angles: Angles) -> Both:
    radon = Radon(len(x), angles)

    def both() -> tuple[Tensor, Tensor]:
        y = radon.forward(x[None])
        return y[0], radon.adjoint(y)[0]

    return both


def rotation(x: Image, angles: Angles) -> Both:
    """Bilinear rotation and a sum along columns, one angle at a time; its adjoint by autograd."""
    side = len(x)

    def project(x: Image) -> Tensor:
        projections = []
        for cos, sin in zip(angles.cos(), angles.sin(), strict=True):
            turn = torch.stack([cos, sin, 0 * cos, -sin, cos, 0 * cos]).reshape(1, 2, 3)
            grid = F.affine_grid(turn.to(x), [1, 1, side, side], align_corners=False)
            projections.append(F.grid_sample(x[None, None], grid, align_corners=False)[0, 0].sum(0))
        return torch.stack(projections)

    def both() -> tuple[Tensor, Tensor]:
        image = x.detach().requires_grad_()
        with torch.enable_grad():
            y = project(image)
        return y.detach(), torch.autograd.grad(y, image, y.detach())[0]

    return both


def scikit_image(x: Image, angles: Angles) -> Both:
    """scikit-image knows no adjoint; the nearest to it is back-projection without a filter."""
    from skimage.transform import iradon, radon

    image, theta = x.cpu().numpy(), angles.rad2deg().cpu().numpy()
    scale = 2 * len(angles) / math.pi  # iradon takes the mean over angles, for filtered projections
    unfiltered: Any = None

    def both() -> tuple[Tensor, Tensor]:
        y = radon(image, theta, circle=True)
        back = scale * iradon(y, theta, filter_name=unfiltered, circle=True)
        return torch.from_numpy(y.T), torch.from_numpy(back)

    return both


def astra_toolbox(x: Image, angles: Angles) -> Both:
    """ASTRA's Joseph projector on the CPU, the same model as ours; on a GPU, its CUDA projector."""
    import astra  # pyright: ignore[reportMissingImports]

    side, image = len(x), x.cpu().numpy()
    beam = astra.create_proj_geom("parallel", 1.0, side, angles.cpu().numpy())
    kind = "cuda" if x.is_cuda else "linear"
    operator = astra.OpTomo(astra.create_projector(kind, beam, astra.create_vol_geom(side, side)))

    def both() -> tuple[Tensor, Tensor]:
        y = operator.FP(image)
        return torch.from_numpy(y), torch.from_numpy(operator.BP(y))

    return both


PROJECTORS: dict[str, tuple[str, Callable[[Image, Angles], Both]]] = {  # name: module it needs, maker
    "tomopilot": ("torch", sparse_matrix),
    "rotation": ("torch", rotation),
    "scikit-image": ("skimage", scikit_image),
    "astra-toolbox": ("astra", astra_toolbox),
}


def obstacle(name: str) -> str | None:
    """Why a projector cannot be timed here; None if it can."""
    try:
        import_module(PROJECTORS[name][0])
    except ImportError as error:
        return " ".join(f"the projector of {name} is left out: {error}".split())
    return None


def disc(side: int) -> Image:
    """A test image: a smooth blob off the centre, 0 outside of the inscribed circle."""
    row, column = torch.meshgrid(*[torch.linspace(-1, 1, side)] * 2, indexing="ij")
    return (1 - ((row + 0.2).square() + (column - 0.1).square()) / 0.4).clamp(min=0)
