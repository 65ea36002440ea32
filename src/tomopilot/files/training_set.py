"""A training set on disk: a folder of `train.npz`, `validation.npz`, and `set.json`, the card of both."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict

from tomopilot.disk import read_text, typed, write_atomically
from tomopilot.units import lengths, readable_span

TRAIN, VALIDATION, ABOUT = "train.npz", "validation.npz", "set.json"
TEXTS = ("unit", "data", "licence")


class About(BaseModel):
    """What training needs of `set.json`; the rest of it is for people."""

    model_config = ConfigDict(extra="allow")

    unit: str | None = None
    data: str | None = None
    licence: str | None = None
    pixel_size: Annotated[str, AfterValidator(lambda text: (lengths(text), text)[1])] | None = None
    intensity: dict[str, float] | None = None  # in the unit of the source, of black and white


def save_set(
    folder: Path,
    train: Mapping[str, np.ndarray],
    validation: Mapping[str, np.ndarray],
    about: Mapping[str, Any],
) -> None:
    """Writes a training set; its card comes last, so that a folder with a card is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, arrays in ((TRAIN, train), (VALIDATION, validation)):
        content = io.BytesIO()
        np.savez_compressed(content, allow_pickle=False, **arrays)
        write_atomically(folder / name, content.getvalue())
    write_atomically(folder / ABOUT, json.dumps(about, indent=2).encode())


def is_set(folder: Path) -> bool:
    """Whether `tomopilot prepare` left a training set in a folder."""
    return (folder / ABOUT).is_file()


def read_about(folder: Path) -> dict[str, Any]:
    """What the card of a training set says of its images."""
    try:
        text = read_text(folder / ABOUT)
        about = typed(About, text, "it")
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder / ABOUT} cannot be read ({error}); prepare the set again") from None
    return about.model_dump(include=set(About.model_fields), exclude_none=True)


def with_sets(
    specs: Sequence[str], validation: str | None = None
) -> tuple[tuple[str, ...], str | None, dict[str, Any]]:
    """Images to train and validate on where folders of training sets were named, and what their cards say.

    The validation images are those of the set, or of the one that `validation` names.
    """
    folders = [Path(spec) for spec in specs if is_set(Path(spec))]
    if len(folders) > 1 and validation is None:
        raise ValueError(
            f"{len(folders)} training sets are named: name the one to validate on with --validation FOLDER"
        )
    if folders and validation is None:
        validation = str(folders[0])
    if validation is not None and is_set(Path(validation)):
        validation = str(Path(validation) / VALIDATION)
    images = tuple(str(Path(spec) / TRAIN) if is_set(Path(spec)) else spec for spec in specs)
    return images, validation, _together([read_about(folder) for folder in folders])


def _together(cards: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What several cards say, as one; raises where their units differ."""
    said = {key: list(dict.fromkeys(card[key] for card in cards if key in card)) for key in TEXTS}
    if len(said["unit"]) > 1:
        raise ValueError(
            f"the training sets have the units {' and '.join(said['unit'])}: train on one of them"
        )
    about: dict[str, Any] = {key: "; ".join(texts) for key, texts in said.items() if texts}
    sizes = [size for card in cards if "pixel_size" in card for size in lengths(card["pixel_size"])]
    about |= {"pixel_size": readable_span(min(sizes), max(sizes))} if sizes else {}
    maps = [card.get("intensity") for card in cards]
    return about | ({"intensity": maps[0]} if maps and maps[0] and maps.count(maps[0]) == len(maps) else {})
