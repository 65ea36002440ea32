"""From the settings in a recipe or card to a network, and the precision that a device is quickest in."""

from collections.abc import Mapping
from typing import Any

import torch

from tomopilot.nets.folded import FoldedUNet
from tomopilot.nets.unet import UNet

Network = UNet | FoldedUNet
MOST, LARGEST, BLOCKS, WEIGHTS = 8, 2**13, 64, 2**30  # beyond which a network cannot be meant


def build_network(settings: Mapping[str, Any]) -> Network:
    """The network of a recipe's or card's table; those without `blocks` are of version 0.1's kind.

    Raises TypeError, ValueError or ArithmeticError where the table makes no sense.
    """
    for key, value in settings.items():
        numbers = value if isinstance(value, list | tuple) else [value]
        if len(numbers) > MOST or any(type(n) is not int or not 0 <= n <= LARGEST for n in numbers):
            raise ValueError(
                f"the network's {key} is {str(value)[:80]}; expected up to {MOST} whole numbers to {LARGEST}"
            )
    if (blocks := sum(settings.get("blocks", ()))) > BLOCKS:
        raise ValueError(f"the network has {blocks} blocks a side; at most {BLOCKS} are built")
    kind = UNet if "blocks" in settings else FoldedUNet
    with torch.device("meta"):
        weights = sum(value.numel() for value in kind(**settings).parameters())
    if weights > WEIGHTS:
        raise ValueError(f"the network has {weights} weights; at most {WEIGHTS} are built")
    return kind(**settings)


def fast_precision(device: torch.device | str) -> torch.dtype:
    """bfloat16 where the device computes in it natively, else float32."""
    if torch.device(device).type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = torch.cpu.get_capabilities().get("avx512_bf16", False)
    return torch.bfloat16 if native else torch.float32
