"""Low-rank updates of a network's convolutions: few weights to adapt, none left over once they are merged."""

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn.utils import parametrize

from tomopilot.nets.unet import Convolution, Finer

ADAPTED = (nn.Conv2d, Convolution, Finer)  # their weights are (outputs, ...)
OWN = ".parametrizations.weight."  # within the names of what an adapted layer holds


class LowRank(nn.Module):
    """W + B A, with B of zeros at first (LoRA; Hu et al. 2021), each kernel as a matrix (outputs, rest)."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        outputs, inputs = len(weight), weight[0].numel()
        self.up = nn.Parameter(weight.new_zeros(outputs, rank))
        self.down = nn.Parameter(weight.new_empty(rank, inputs).normal_(std=inputs**-0.5))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + (self.up @ self.down).view(weight.shape)


def add_low_rank(network: nn.Module, rank: int) -> None:
    """From now on only low-rank updates of the convolutions are trained; what the network computes stays."""
    network.requires_grad_(False)
    for layer in [layer for layer in network.modules() if isinstance(layer, ADAPTED)]:
        parametrize.register_parametrization(layer, "weight", LowRank(layer.weight, rank))


def merged(network: nn.Module) -> dict[str, Tensor]:
    """The weights as a network without updates has them, by their names there."""
    plain = {}
    for name, value in network.named_parameters():
        layer, own, part = name.partition(OWN)
        if own and part == "original":
            plain[f"{layer}.weight"] = network.get_submodule(layer).weight
        elif not own:
            plain[name] = value
    return plain


def take_weights(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Loads the weights of a network without updates; updates stay as they are."""
    state = network.state_dict()
    names = {name.replace(f"{OWN}original", ".weight"): name for name in state}
    network.load_state_dict({**state, **{names.get(name, name): value for name, value in weights.items()}})
