"""From the settings in a recipe or card to a network, and the precision that a device is quickest in."""

from collections.abc import Mapping
from typing import Any

import torch

from tomopilot.nets.folded import FoldedUNet
from tomopilot.nets.unet import UNet

Network = UNet | FoldedUNet


def build_network(settings: Mapping[str, Any]) -> Network:
    """The network of a recipe's or card's table; those without `blocks` are of version 0.1's kind.

    Raises TypeError, ValueError or ArithmeticError where the table makes no sense.
    """
    return UNet(**settings) if "blocks" in settings else FoldedUNet(**settings)


def fast_precision(device: torch.device | str) -> torch.dtype:
    """bfloat16 where the device computes in it natively, else float32."""
    if torch.device(device).type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = torch.cpu.get_capabilities().get("avx512_bf16", False)
    return torch.bfloat16 if native else torch.float32
