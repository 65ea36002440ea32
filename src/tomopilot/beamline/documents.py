"""Bluesky documents -> exposures: frames, read-back angles, beam monitor."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlparse
from urllib.request import url2pathname

import h5py
import numpy as np

PATIENCE = 10.0  # seconds that a frame may take to appear in its file
LOOK = 0.05  # seconds between two looks
HDF5 = ("application/x-hdf5", "application/hdf5")


class Unreadable(ValueError):
    """A frame is not where its documents say."""


class Unfit(ValueError):
    """The documents of a device do not say what a scan needs, whatever is exposed."""


class Place(NamedTuple):
    """Where a detector has put a frame."""

    path: Path
    dataset: str
    number: int

    def read(self) -> np.ndarray:
        """The frame, also while its file is being written (SWMR); raises `Unreadable` after 10 s."""
        latest, missing = time.monotonic() + PATIENCE, "it is not written"
        while True:
            try:
                with h5py.File(self.path, "r", libver="latest", swmr=True) as file:
                    frames = file[self.dataset]
                    if isinstance(frames, h5py.Dataset) and len(frames) > self.number:
                        return frames[self.number]
            except (OSError, KeyError) as error:
                missing = str(error)
            if time.monotonic() > latest:
                raise Unreadable(
                    f"frame {self.number} of {self.dataset} in {self.path} cannot be read ({missing}); "
                    "is the detector's folder mounted here under the same path?"
                )
            time.sleep(LOOK)


@dataclass(frozen=True, eq=False)
class Shot:
    """One exposure, as its event tells it."""

    image: np.ndarray | Place
    shape: tuple[int, int]
    angle: float  # degrees, read back
    monitor: float | None = None

    def frame(self) -> np.ndarray:
        """(rows, columns), read from the detector's file where it is there; any other size as it came."""
        frame = np.asarray(self.image.read() if isinstance(self.image, Place) else self.image)
        return frame.reshape(self.shape) if frame.size == math.prod(self.shape) else frame


class Documents:
    """A callback for documents: hands on every event that holds a frame of the detector.

    stage, detector, monitor: names of the devices
    shape: rows and columns; a frame may come flat, as in an EPICS waveform
    take: is given the event and its exposure; those that are repeated come with the same number again
    Frames come in the event, or in HDF5 files (`stream_resource` and `stream_datum`). Raises `Unfit`.
    """

    def __init__(
        self,
        stage: str,
        detector: str,
        monitor: str | None,
        shape: tuple[int, int],
        take: Callable[[Mapping[str, Any], Shot], None],
    ) -> None:
        self.stage, self.detector, self.monitor, self.shape = stage, detector, monitor, shape
        self._take = take
        self.resources: dict[str, Mapping[str, Any]] = {}  # emitted so far, by uid
        self._keys: dict[str, tuple[str, str, str | None]] = {}  # of a descriptor: image, angle, monitor
        self._places: dict[str, Place] = {}  # latest frame in a file, by data key

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        hear = getattr(self, f"_hear_{name}", None)
        if hear is not None:
            hear(doc)

    def _hear_descriptor(self, doc: Mapping[str, Any]) -> None:
        if self.detector in doc["object_keys"] and self.stage in doc["object_keys"]:
            monitor = None if self.monitor is None else self._number(doc, self.monitor)
            self._keys[doc["uid"]] = (self._image(doc), self._number(doc, self.stage), monitor)

    def _hear_stream_resource(self, doc: Mapping[str, Any]) -> None:
        self.resources[doc["uid"]] = doc

    def _hear_stream_datum(self, doc: Mapping[str, Any]) -> None:
        resource = self.resources[doc["stream_resource"]]
        if resource["mimetype"] in HDF5:
            path = Path(url2pathname(urlparse(resource["uri"]).path))
            place = Place(path, resource["parameters"]["dataset"], doc["indices"]["stop"] - 1)
            self._places[resource["data_key"]] = place

    def _hear_event(self, doc: Mapping[str, Any]) -> None:
        if doc["descriptor"] not in self._keys:
            return
        image, angle, monitor = self._keys[doc["descriptor"]]
        data = doc["data"]
        found = data[image] if image in data else self._places.pop(image, None)
        if found is None or isinstance(found, str):
            raise Unfit(
                f"{image} of {self.detector} is neither in the event nor in an HDF5 file that a "
                "stream_resource names; use a detector that writes HDF5, or one that gives arrays"
            )
        measured = None if monitor is None else float(data[monitor])
        self._take(doc, Shot(found, self.shape, float(data[angle]), measured))

    def _image(self, doc: Mapping[str, Any]) -> str:
        """The data key of the frames."""
        keys, size = doc["data_keys"], math.prod(self.shape)
        sizes = {key: keys[key]["shape"] for key in doc["object_keys"][self.detector]}
        open_ended = [key for key, shape in sizes.items() if None in shape]
        fitting = [key for key, shape in sizes.items() if key not in open_ended and math.prod(shape) == size]
        found = fitting or open_ended
        if len(found) != 1:
            raise Unfit(
                f"{self.detector} gives {', '.join(f'{key} {shape}' for key, shape in sizes.items())}; "
                f"expected one of {self.shape} (rows, columns) as in the setup: is it binned or cropped?"
            )
        return found[0]

    def _number(self, doc: Mapping[str, Any], device: str) -> str:
        """The data key of what a device reads."""
        known = doc["object_keys"][device]
        hinted = [key for key in doc["hints"].get(device, {}).get("fields", []) if key in known]
        found = [device] if device in known else hinted or known
        if len(found) != 1:
            raise Unfit(f"{device} reads {', '.join(known)}; hint the one that counts")
        return found[0]
