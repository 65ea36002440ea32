"""A prior on disk: a folder of `prior.safetensors` and `card.json`. Nothing in it can run code."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import safetensors.torch
import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from torch import Tensor, nn

from tomopilot.disk import read_file, read_text, typed, write_atomically
from tomopilot.nets.build import Network, build_network
from tomopilot.nets.unet import UNet
from tomopilot.prior.denoiser import Preconditioned, Scaled
from tomopilot.units import lengths

WEIGHTS, CARD = "prior.safetensors", "card.json"
LARGEST = 4 * 2**30  # bytes of weights
SHIPPED = Path(__file__).parents[1] / "priors"
Bound = Annotated[float, Field(strict=True, ge=-1e12, le=1e12)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Length = Annotated[str, AfterValidator(lambda text: (lengths(text), text)[1])]
STORED = (torch.float32, torch.bfloat16)  # types of weights
SEALED = ("network", "prediction", "range", "phase", "trust")  # of a card: what numbers depend on


class Card(BaseModel):
    """What every card has; the rest of it is for people."""

    model_config = ConfigDict(extra="allow")

    name: str | None = None
    network: dict[str, Any]
    prediction: Literal["v", "epsilon"]
    range: tuple[Bound, Bound]
    pixel_size: Length | None = None  # of the training images: one length, or `0.04 to 0.15 um`
    sha256: Digest
    replaces_sha256: Digest | None = None
    sealed: Digest | None = None  # of the fields that numbers depend on
    trust: dict[str, Any] = {}


class Prior(Scaled):
    """A trained denoiser and its card (data, licence, training, intensity range, validation loss)."""

    def __init__(self, network: Network, card: Mapping[str, Any]) -> None:
        low, high = map(float, card["range"])
        super().__init__(Preconditioned(network, card["prediction"]), low, high)
        self.network, self.multiple, self.card = network, network.multiple, dict(card)
        self.complex = network.channels == 2

    @property
    def peak(self) -> float:
        """Intensity range of the images, of their magnitude where they are complex."""
        return self.high if self.complex else self.high - self.low

    def check_shape(self, image_shape: tuple[int, ...]) -> None:
        """Raises where the network cannot take images of this shape."""
        *channels, height, width = image_shape if len(image_shape) > 1 else (0, *image_shape)
        if channels == ([] if self.complex else [2]):
            raise ValueError(
                f"the prior {self.card.get('name')!r} is of {_kind(self.complex)} images, but "
                f"{_kind(not self.complex)} ones are measured here: use a prior that was trained "
                f"{'without' if self.complex else 'with'} a `phase`"
            )
        wanted = [2] if self.complex else []
        if channels != wanted or any(side < 1 or side % self.multiple for side in (height, width)):
            raise ValueError(
                f"the image is {' x '.join(map(str, image_shape))} pixels, but the prior "
                f"{self.card.get('name')!r} takes two-dimensional images with sides that are multiples of "
                f"{self.multiple}: crop or pad it"
            )


def _kind(complex_: bool) -> str:
    return "complex" if complex_ else "real"


def save_tensors(path: Path, tensors: Mapping[str, Tensor], note: Mapping[str, Any]) -> None:
    """Tensors to a safetensors file, with a note and the SHA-256 of both in its header."""
    plain = _plain(tensors)
    text = json.dumps({**note, "sha256": _digest_of(plain, note)})
    write_atomically(path, safetensors.torch.save(plain, {"note": text}))


def load_tensors(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The note and the tensors of a file by `save_tensors`.

    Raises OSError, or ValueError where it is not as it was written.
    """
    try:
        with safetensors.safe_open(path, "pt") as file:
            note = dict(json.loads(file.metadata()["note"]))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (KeyError, TypeError, RecursionError, safetensors.SafetensorError) as error:
        raise ValueError(f"{path.name} is no such file: {error}") from None
    if note.pop("sha256", None) not in (None, _digest_of(tensors, note)):
        raise ValueError(f"{path.name} is not as it was written: its SHA-256 differs")
    return note, tensors


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _digest_of(tensors: dict[str, Tensor], note: Mapping[str, Any]) -> str:
    return _digest(safetensors.torch.save(tensors) + json.dumps(note).encode())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def save_prior(folder: Path, network: Network, card: Mapping[str, Any]) -> None:
    """Writes a card that carries the SHA-256 of the weights, then the weights, in half precision.

    The card also names the weights it replaces, so that a kill between the two leaves a prior that loads.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = network.state_dict()
    if isinstance(network, UNet):
        weights = {name: value.bfloat16() for name, value in weights.items()}
    content = safetensors.torch.save(_plain(weights), {"note": ""})
    before = _digest((folder / WEIGHTS).read_bytes()) if (folder / WEIGHTS).is_file() else None
    _write_card(folder, {**card, "sha256": _digest(content), "replaces_sha256": before})
    write_atomically(folder / WEIGHTS, content)


def _write_card(folder: Path, card: Mapping[str, Any]) -> None:
    card = json.loads(json.dumps(card))
    write_atomically(folder / CARD, json.dumps({**card, "sealed": _seal(card)}, indent=2).encode())


def _seal(card: Mapping[str, Any]) -> str:
    numbers = {key: card[key] for key in SEALED if key in card}
    return _digest(json.dumps(numbers, sort_keys=True).encode())


def prior_folders() -> dict[str, Path]:
    """Known priors by name: the shipped ones, then those in the folders of TOMOPILOT_PRIORS."""
    roots = [SHIPPED, *map(Path, filter(None, os.environ.get("TOMOPILOT_PRIORS", "").split(os.pathsep)))]
    return {card.parent.name: card.parent for root in roots for card in sorted(root.glob(f"*/{CARD}"))}


def folder_of(name: str | Path) -> Path:
    """The folder of a prior, by its name or place."""
    folders = prior_folders()
    folder = folders.get(str(name), Path(name))
    if not folder.is_dir():
        known = ", ".join(folders) or "none"
        raise ValueError(
            f"prior {str(name)!r} is neither a known name ({known}) nor a folder; check the spelling"
        )
    return folder


def card_of(name: str | Path) -> bytes:
    """The card of a prior as it lies on disk now; nothing where there is none."""
    path = folder_of(name) / CARD
    return read_file(path) if path.is_file() else b""


def read_card(folder: Path) -> dict[str, Any]:
    """The card of a prior's folder."""
    try:
        text = read_text(folder / CARD)
        typed(Card, text, "it")
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{folder} has no readable {CARD} ({error}); was it made by `tomopilot train`?"
        ) from None
    return json.loads(text)


def altered(card: Mapping[str, Any]) -> bool:
    """Whether what numbers depend on was changed, by hand or by damage, after a card was written."""
    return card.get("sealed") not in (None, _seal(card))


def lineage(card: Mapping[str, Any]) -> dict[str, Any]:
    """What a card says of where its prior comes from, and of the priors before it."""
    keys = ("name", "images_seen", "sha256", "command", "data", "licence", "pixel_size", "started_from")
    return {key: card[key] for key in keys if key in card}


def add_to_card(folder: Path, facts: Mapping[str, Any]) -> None:
    """Writes facts about a prior into its card, in place of earlier ones of the same name."""
    _write_card(folder, {**read_card(folder), **facts})


def take_up_trust(folder: Path, fitted: Mapping[str, Mapping[str, Any]], facts: Mapping[str, Any]) -> None:
    """Writes into a prior's card what was fitted of how far its samples can be believed, and how.

    fitted: by kind (inflation, alarm, margin), then by posterior; what the card holds of others stays
    """
    card = read_card(folder)
    trust = card.setdefault("trust", {})
    for kind, values in fitted.items():
        trust.setdefault(kind, {}).update(values)
        trust.setdefault("fitted", {})[kind] = dict(facts)
    add_to_card(folder, {"trust": trust})


def load_prior(
    name: str | Path, device: torch.device | str = "cpu", *, precision: torch.dtype = torch.float32
) -> Prior:
    """A prior by name (`tomopilot priors` lists them) or folder, checked against its card.

    The network computes in `precision`; `nets.build.fast_precision` says what a device is quickest in.

    >>> load_prior("chip-128").scale
    0.5
    """
    folder = folder_of(name)
    card = read_card(folder)
    try:
        network = build_network(card["network"])
        prior = Prior(network, card)
    except (TypeError, ValueError, ArithmeticError, LookupError, RuntimeError) as error:
        raise ValueError(
            f"{folder / CARD} describes a prior that cannot be built here ({error}); train or fetch it again"
        ) from None
    weights = _read_weights(folder / WEIGHTS, (card["sha256"], card.get("replaces_sha256")))
    _check_weights(folder, weights, network)
    network.load_state_dict(weights)
    network.compute_in(precision)
    return prior.to(device).eval().requires_grad_(False)


def _read_weights(path: Path, digests: tuple[str, str | None]) -> dict[str, Tensor]:
    try:
        content = read_file(path, LARGEST)
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error}); fetch the prior again") from None
    if _digest(content) not in digests:
        raise ValueError(
            f"{path} is not the file its card describes (SHA-256 differs); fetch the prior again"
        )
    try:
        return safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is not a safetensors file ({error}); fetch the prior again") from None


def _check_weights(folder: Path, weights: Mapping[str, Tensor], network: nn.Module) -> None:
    expected = network.state_dict()
    wrong = sorted(
        name
        for name in weights.keys() | expected.keys()
        if name not in weights
        or name not in expected
        or weights[name].shape != expected[name].shape
        or weights[name].dtype not in STORED
        or not bool(weights[name].isfinite().all())
    )
    if wrong:
        raise ValueError(
            f"the weights in {folder} do not fit the network of its card: {len(wrong)} tensors are missing, "
            f"of another shape or type, or not finite, first {wrong[0]!r}; train or fetch the prior again"
        )
