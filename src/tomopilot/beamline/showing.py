"""Routes that show a scan: estimates, frames, the file of what was measured, and the page itself."""

import importlib.util
import secrets
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query, Response
from fastapi import Path as InPath
from fastapi.responses import FileResponse
from starlette.background import BackgroundTask

from tomopilot.beamline.viewer import Missing, Viewer
from tomopilot.beamline.work import Work
from tomopilot.disk import PARTIAL
from tomopilot.live.export import export

PAGE = Path(__file__).parent / "page"
INDEX, PLOTLY = "index.html", "plotly.min.js"
BYTES = "application/octet-stream"
Count = Annotated[int, Query(ge=0, le=2**31)]
BINARY: dict[int | str, Any] = {200: {"description": "float32, little-endian", "content": {BYTES: {}}}}


def showing(viewer: Viewer, work: Work) -> APIRouter:
    """What the page shows."""
    router, files = APIRouter(), page_files()

    @router.get("/api/images/{told}", response_class=Response, responses=BINARY)
    async def images(
        told: Annotated[str, InPath(pattern=r"^(latest|[0-9]{1,9})$")],
        what: Literal["mean", "std", "sample", "unpredicted"] = "mean",
        slice: Count = 0,
        sample: Count = 0,
    ) -> Response:
        """A slice of the estimate after so many measurements: mean or std of the samples, or one of them.

        Unpredicted: what the projections had that the samples before them did not predict, back-projected, in
        standard deviations of noise alone.
        """
        found = await work.slow(lambda: viewer.picture(told, what, slice, sample))
        return _numbers(found.values, {"X-Slices": found.slices, "X-Samples": found.samples})

    @router.get("/api/frames/{event}", response_class=Response, responses=BINARY)
    async def frames(
        event: Annotated[int, InPath(ge=1, le=2**53)],
        row: Annotated[int | None, Query(ge=0, le=2**31)] = None,
    ) -> Response:
        """The frame that came with an event, averaged down to 512 x 512 values; one detector row, or all."""
        found = await work.slow(lambda: viewer.raw(event, row))
        counts = {"X-Slices": 1, "X-Samples": 1, "X-Saturated": found.saturated, "X-Bad": found.bad}
        return _numbers(found.values, counts)

    @router.get("/api/scan.nxs", response_class=FileResponse)
    async def scan() -> FileResponse:
        """All that was measured so far, as NXtomo."""
        path = viewer.folder / f"{secrets.token_hex(8)}.nxs{PARTIAL}"
        await work.slow(lambda: export(viewer.folder, path))
        return FileResponse(
            path, filename="scan.nxs", background=BackgroundTask(path.unlink, missing_ok=True)
        )

    @router.get("/", response_class=FileResponse)
    async def page() -> FileResponse:
        """The page."""
        return FileResponse(files[INDEX])

    @router.get("/static/{name}", response_class=FileResponse)
    async def static(name: str) -> FileResponse:
        """A file of the page."""
        if name not in files:
            raise Missing("this is no file of the page")
        return FileResponse(files[name])

    return router


def page_files() -> dict[str, Path]:
    """The files that may be fetched, by name: nothing else is, whatever is asked for."""
    found = {path.name: path for path in PAGE.iterdir() if path.is_file()}
    plotly = importlib.util.find_spec("plotly")
    if plotly is None or plotly.origin is None:
        raise ValueError("the page needs plotly: pip install 'tomopilot[live]'")
    return found | {PLOTLY: Path(plotly.origin).parent / "package_data" / PLOTLY}


def _numbers(values: np.ndarray, counts: dict[str, int]) -> Response:
    rows, columns = values.shape
    headers = {"X-Rows": rows, "X-Columns": columns} | counts
    return Response(
        values.astype("<f4").tobytes(),
        media_type=BYTES,
        headers={name: str(n) for name, n in headers.items()},
    )
