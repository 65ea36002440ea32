"""Two ways to project, side by side: the sparse matrix of `Radon`, and rotating the image and summing.

    .venv/bin/python benchmarks/projectors.py

One thread; times are means over three calls after a first one, which builds the matrix.
"""

import time
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from tomopilot import Radon, bisect_order, half_turn


def rotate_and_sum(x: Tensor, angles: Tensor) -> Tensor:
    """Projections (b, n, w) by bilinear rotation of every image, one angle at a time."""
    side, projections = x.shape[-1], []
    for cos, sin in zip(angles.cos(), angles.sin(), strict=True):
        turn = torch.tensor([[[cos, -sin, 0], [sin, cos, 0]]])
        grid = F.affine_grid(turn, [1, 1, side, side], align_corners=False).expand(len(x), -1, -1, -1)
        projections.append(F.grid_sample(x[:, None], grid, align_corners=False)[:, 0].sum(1))
    return torch.stack(projections, 1)


def milliseconds(call: Callable[[], object]) -> float:
    call()
    start = time.perf_counter()
    for _ in range(3):
        call()
    return (time.perf_counter() - start) / 3 * 1e3


def compare(side: int, images: int, count: int = 20) -> str:
    """One line of the table, for `count` angles of the bisecting order."""
    x = torch.rand(images, side, side, requires_grad=True)
    angles = half_turn(180)[torch.tensor(bisect_order(180)[:count])]
    radon = Radon(side, angles)

    def rotate(x: Tensor) -> Tensor:
        return rotate_and_sum(x, angles)

    def both(project: Callable[[Tensor], Tensor]) -> None:
        y = project(x)
        torch.autograd.grad(y, x, y)

    start = time.perf_counter()
    radon.forward(x)
    times = [(time.perf_counter() - start) * 1e3]
    for project in (radon.forward, rotate):
        times += [milliseconds(partial(project, x)), milliseconds(partial(both, project))]
    return f"{side:4} {images:6} {count:6}" + "".join(f"{value:10.1f}" for value in times)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print("side images angles    matrix: built  forward     +adj.   rotation: fwd.  +adj.  (ms)")
    for side, images in ((128, 10), (256, 4), (512, 2)):
        print(compare(side, images), flush=True)
