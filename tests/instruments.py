"""Small beamlines for tests of control systems: devices of ophyd and of ophyd-async before one camera."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from bluesky import RunEngine
from bluesky.suspenders import SuspendBoolHigh
from ophyd import Signal
from ophyd.sim import SynAxis
from ophyd.status import Status
from ophyd_async.core import (
    DetectorAcquireLogic,
    DetectorDataLogic,
    DetectorTriggerLogic,
    StandardDetector,
    StreamableDataProvider,
    StreamResourceDataProvider,
    StreamResourceInfo,
    soft_signal_r_and_setter,
)

from tomopilot.live.setup import Setup
from tomopilot.simulate.camera import Camera

ROWS, COLUMNS = 2, 16


def small_camera(seed: int = 0) -> Camera:
    volume = torch.rand(ROWS, COLUMNS, COLUMNS, generator=torch.Generator().manual_seed(seed)) > 0.7
    return Camera(volume.float())


def small_setup(**changes: Any) -> Setup:
    """A scan of six projections that takes no time, by a few bootstrap samples."""
    usual = {
        "rows": ROWS, "columns": COLUMNS, "angles": 36, "scale": 0.02, "prior": None,
        "posterior": "bootstrap(steps=10)", "count": 3, "start": 2, "scouts": 1, "budget": 6,
        "device": "cpu", "deadline": 60.0,
    }  # fmt: skip
    return Setup(**(usual | changes))


class Instrument:
    """What a detector sees: where the stage is, whether the shutter is open and the sample inside."""

    def __init__(self, camera: Camera | None = None) -> None:
        self.camera, self.angle, self.open, self.inside = camera or small_camera(), 0.0, 1, 1
        self.beam = 1.0

    def frame(self) -> np.ndarray:
        if not self.open:
            return self.camera.darks(1)[0]
        if not self.inside:
            return self.camera.flats(1)[0]
        return self.camera.frame(round(self.angle, 4), 0, self.beam)


class Stage(SynAxis):
    """A rotation stage of classic ophyd; `miss` degrees off, `broken` it fails."""

    def __init__(self, instrument: Instrument, seconds: float = 0.0, miss: float = 0.0) -> None:
        self.miss, self.broken, self.moves = miss, [], []
        self.instrument = instrument
        super().__init__(name="rotation", delay=seconds, readback_func=self._reach)

    def _reach(self, angle: float) -> float:
        self.instrument.angle = angle + self.miss
        return self.instrument.angle

    def set(self, value: float) -> Any:
        self.moves.append(value)
        if self.broken:
            return self.broken.pop(0)()
        return super().set(value)


class Toggle:
    """A shutter, or a sample that goes in and out; `positions` says what 1 and 0 are called."""

    parent = None

    def __init__(self, name: str, instrument: Instrument, part: str, positions: Any = None) -> None:
        self.name, self._instrument, self._part = name, instrument, part
        self._positions = positions or {1: 1, 0: 0}

    def set(self, value: Any) -> Status:
        setattr(self._instrument, self._part, self._positions[value])
        return finished()


class Monitor:
    """An ionisation chamber of 5000 counts."""

    name, parent, hints = "monitor", None, {"fields": ["monitor_counts"]}

    def __init__(self, instrument: Instrument) -> None:
        self._instrument = instrument

    def describe(self) -> dict[str, Any]:
        return {"monitor_counts": {"source": "test", "dtype": "number", "shape": []}}

    def read(self) -> dict[str, Any]:
        return {"monitor_counts": {"value": 5000 * self._instrument.beam, "timestamp": time.time()}}


class Detector:
    """A detector that gives arrays in events; `broken` holds what its next triggers answer."""

    name, parent = "camera", None

    def __init__(self, instrument: Instrument, seconds: float = 0.0) -> None:
        self.instrument, self.seconds, self.broken = instrument, seconds, []
        self.begun: list[float] = []  # angles
        self.watch: list[Any] = []  # called when an exposure begins
        self._frame, self._exposing = np.zeros(1), False

    def trigger(self) -> Status:
        self.begun.append(self.instrument.angle)
        for each in self.watch:
            each()
        if self.broken:
            return self.broken.pop(0)()
        assert not self._exposing, "it is exposing already"
        status, self._exposing = Status(), True

        def expose() -> None:
            self._frame, self._exposing = self.instrument.frame(), False
            status.set_finished()

        threading.Timer(self.seconds, expose).start()
        return status

    def describe(self) -> dict[str, Any]:
        shape = list(self.instrument.camera.shape)
        return {
            "camera_image": {"source": "test", "dtype": "array", "shape": shape},
            "camera_gain": {"source": "test", "dtype": "number", "shape": []},
        }

    def read(self) -> dict[str, Any]:
        values = {"camera_image": self._frame, "camera_gain": 1.0}
        return {key: {"value": value, "timestamp": time.time()} for key, value in values.items()}


def finished() -> Status:
    status = Status()
    status.set_finished()
    return status


def failed(message: str = "it broke") -> Status:
    status = Status()
    status.set_exception(RuntimeError(message))
    return status


class Beam:
    """A signal that says that the beam is down, and a suspender that watches it."""

    def __init__(self, engine: RunEngine, detector: Detector) -> None:
        self.down, self.begun_down, self.trips = Signal(name="down", value=0), 0, 0
        self._engine, self._suspender = engine, SuspendBoolHigh(self.down)
        detector.watch.append(self._count)

    def _count(self) -> None:
        self.begun_down += self.down.get()

    def trip(self, seconds: float = 0.3, tries: int = 100) -> None:
        """Down for so long; said again where Bluesky's suspender, which waits 0.1 s for the loop, gave up."""
        self.trips += 1
        for _ in range(tries):
            self.down.put(1)
            if self._suspender._ev is not None:
                break
        threading.Timer(seconds, self.down.put, [0]).start()

    @contextmanager
    def watched(self) -> Iterator[None]:
        self._engine.install_suspender(self._suspender)
        yield
        self._engine.remove_suspender(self._suspender)


@contextmanager
def lags(engine: RunEngine) -> Iterator[list[float]]:
    """How late the event loop is, in seconds, over and over."""
    found, over = [], threading.Event()

    async def watch() -> None:
        while not over.is_set():
            begun = time.perf_counter()
            await asyncio.sleep(0.005)
            found.append(time.perf_counter() - begun - 0.005)

    future = asyncio.run_coroutine_threadsafe(watch(), engine.loop)
    yield found
    over.set()
    future.result()


class FileDetector(StandardDetector):
    """A detector of ophyd-async that writes HDF5 files; its events hold no image."""

    def __init__(self, instrument: Instrument, folder: Path, seconds: float = 0.0) -> None:
        self.writer = _Writer(instrument, folder, seconds)
        self.add_detector_logics(_Internal(), self.writer, _Files(self.writer))
        super().__init__(name="camera")


class _Internal(DetectorTriggerLogic):
    async def prepare_internal(self, num: int, livetime: float, deadtime: float) -> None:
        assert num == 1


class _Writer(DetectorAcquireLogic):
    """Exposes in the background, and appends to a file that others may read (SWMR)."""

    def __init__(self, instrument: Instrument, folder: Path, seconds: float) -> None:
        self.instrument, self.folder, self.seconds = instrument, folder, seconds
        self.written, self.say_written = soft_signal_r_and_setter(int)
        self.file: h5py.File | None = None
        self.count, self.begun, self.idle = 0, [], threading.Event()
        self.idle.set()

    def open(self, path: Path) -> None:
        self.file = h5py.File(path, "w", libver="latest")
        shape = self.instrument.camera.shape
        self.file.create_dataset("entry/data", (0, *shape), "u2", maxshape=(None, *shape), chunks=(1, *shape))
        self.file.swmr_mode = True
        self.say_written(0)

    async def start_acquiring(self) -> None:
        assert self.idle.is_set(), "it is exposing already"
        self.idle.clear()
        self.begun.append(self.instrument.angle)
        self.task = asyncio.create_task(self._expose())

    async def _expose(self) -> None:
        await asyncio.sleep(self.seconds)
        assert self.file is not None
        data = self.file["entry/data"]
        data.resize(len(data) + 1, axis=0)
        data[-1] = self.instrument.frame()
        data.flush()
        self.idle.set()
        self.say_written(len(data))

    async def wait_for_idle(self) -> None:
        await self.task

    async def ensure_stopped(self) -> None:
        pass


class _Files(DetectorDataLogic):
    def __init__(self, writer: _Writer) -> None:
        self.writer = writer

    async def prepare_unbounded(self, datakey_name: str) -> StreamableDataProvider:
        writer = self.writer
        writer.count += 1
        path = writer.folder / f"frames {writer.count}.h5"
        writer.open(path)
        shape = writer.instrument.camera.shape
        resource = StreamResourceInfo(
            data_key=datakey_name, shape=shape, chunk_shape=(1, *shape), dtype_numpy="<u2",
            parameters={"dataset": "/entry/data"},
        )  # fmt: skip
        return StreamResourceDataProvider(
            path.as_uri().replace("file://", "file://localhost"),
            [resource],
            "application/x-hdf5",
            writer.written,
        )

    async def stop(self) -> None:
        if self.writer.file is not None:
            self.writer.file.close()
            self.writer.file = None
