"""A live scan over HTTP: what a control system asks and tells, and what a page shows."""

import asyncio
import contextlib
import importlib.util
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Header, Query, Request, Response
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse

from pydantic import BaseModel

from tomopilot import __version__
from tomopilot.beamline.viewer import Missing, Viewer, as_sse
from tomopilot.files.logbook import Wish

PAGE = Path(__file__).parent / "page"
LOOK = 0.1  # seconds between two looks at the record
BEAT = 0.5  # seconds between two signs of life on a stream


class Wanted(BaseModel):
    """What an operator asks for."""

    key: str
    name: str
    angle: float | None = None  # degrees


def make_app(viewer: Viewer) -> FastAPI:
    """The service of one scan."""

    @contextlib.asynccontextmanager
    async def watching(app: FastAPI) -> AsyncIterator[None]:
        async def watch() -> None:
            while True:
                await asyncio.to_thread(viewer.refresh)
                await asyncio.sleep(LOOK)

        task = asyncio.create_task(watch())
        yield
        task.cancel()

    app = FastAPI(
        title="tomopilot",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        lifespan=watching,
        openapi_url="/api/openapi.json",
    )

    files = {path.name: path for path in PAGE.glob("*")}
    plotly = importlib.util.find_spec("plotly")
    if plotly and plotly.origin:
        files["plotly.min.js"] = Path(plotly.origin).parent / "package_data" / "plotly.min.js"

    @app.exception_handler(Missing)
    async def missing(request: Request, error: Missing) -> JSONResponse:
        return JSONResponse({"code": "unknown", "message": str(error.args[0])}, 404)

    @app.get("/api/state")
    def state() -> dict[str, Any]:
        return viewer.state() | {"holds": False}

    @app.get("/api/setup")
    def setup() -> dict[str, Any]:
        return viewer.about()

    @app.get("/api/angles")
    def angles() -> list[float]:
        return viewer.angles

    @app.get("/api/events")
    async def events(
        after: int = 0, last_event_id: Annotated[int | None, Header()] = None
    ) -> StreamingResponse:
        start = after if last_event_id is None else last_event_id

        async def feed() -> AsyncIterator[str]:
            sent, beat = start, 0.0
            loop = asyncio.get_running_loop()
            while True:
                for event in viewer.events[sent:]:
                    yield as_sse(event)
                    sent = event.number
                if loop.time() - beat >= BEAT:
                    beat = loop.time()
                    yield f'event: beat\ndata: {{"alive": {str(viewer.alive).lower()}, "event": {viewer.ledger.last}}}\n\n'
                await asyncio.sleep(LOOK)

        return StreamingResponse(feed(), media_type="text/event-stream")

    @app.get("/api/images/{told}")
    def images(
        told: str,
        what: Literal["mean", "std", "sample"] = "mean",
        slice: Annotated[int, Query(ge=0)] = 0,
        sample: Annotated[int, Query(ge=0)] = 0,
    ) -> Response:
        found = viewer.picture(told, what, slice, sample)
        rows, columns = found.values.shape
        return Response(
            found.values.tobytes(),
            media_type="application/octet-stream",
            headers={
                "X-Rows": str(rows),
                "X-Columns": str(columns),
                "X-Slices": str(found.slices),
                "X-Samples": str(found.samples),
            },
        )

    @app.get("/api/frames/{event}")
    def frames(event: int, row: Annotated[int | None, Query(ge=0)] = None) -> Response:
        found = viewer.raw(event, row)
        rows, columns = found.values.shape
        return Response(
            found.values.tobytes(),
            media_type="application/octet-stream",
            headers={
                "X-Rows": str(rows),
                "X-Columns": str(columns),
                "X-Slices": "1",
                "X-Samples": "1",
                "X-Saturated": str(found.saturated),
                "X-Bad": str(found.bad),
            },
        )

    @app.post("/api/wishes")
    async def wish(wanted: Wanted) -> Response:
        content = {} if wanted.angle is None else {"angle": wanted.angle}
        if not viewer.alive:
            return JSONResponse({"code": "unheld", "message": "nobody holds the scan; resume it"}, 503)
        await asyncio.to_thread(viewer.wish, Wish(wanted.key, wanted.name, content))
        for _ in range(20):
            if answer := await asyncio.to_thread(viewer.answer, wanted.key):
                return JSONResponse(answer)
            await asyncio.sleep(0.05)
        return JSONResponse({"code": "waiting", "message": "not answered yet; ask again"}, 202)

    @app.get("/")
    def page() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    @app.get("/static/{name}")
    def static(name: str) -> FileResponse:
        if name not in files:
            raise Missing(f"{name} is no file of the page")
        return FileResponse(files[name])

    return app
