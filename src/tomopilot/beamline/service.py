"""The service of a live scan over HTTP: for any control system, and for the page of its operators."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from http import HTTPStatus

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException

from tomopilot import __version__
from tomopilot.beamline.asking import Problem, asking
from tomopilot.beamline.security import Gate, Guard, problem
from tomopilot.beamline.showing import showing
from tomopilot.beamline.viewer import Missing, Viewer
from tomopilot.beamline.watching import LOOK, watching
from tomopilot.beamline.work import Busy, Work
from tomopilot.live.held import Refused
from tomopilot.live.live import Live
from tomopilot.live.setup import Setup

SMALL = 64 * 1024  # bytes of a body that is no array
FIELDS = 64  # frames of flat or dark fields at once
WORD = 8  # bytes of the largest number of a frame
ERRORS = (HTTPException, RequestValidationError, Missing, Busy, ValueError, OSError, MemoryError, Exception)


def make_app(viewer: Viewer, gate: Gate, live: Live | None = None) -> FastAPI:
    """The service of one scan: that this process holds, or that it watches while another one does."""

    @contextlib.asynccontextmanager
    async def looking(app: FastAPI) -> AsyncIterator[None]:
        async def look() -> None:
            while True:
                with contextlib.suppress(Exception):  # it is shown as stale, see `Viewer.alive`
                    await work.quick(viewer.refresh)
                await asyncio.sleep(LOOK)

        task = asyncio.create_task(look())
        yield
        task.cancel()

    work = Work()
    app = FastAPI(
        title="tomopilot", version=__version__, lifespan=looking,
        openapi_url="/api/openapi.json", docs_url=None, redoc_url=None,
        dependencies=[Depends(HTTPBearer(auto_error=False))],
        responses={"4XX": {"model": Problem}, "5XX": {"model": Problem}},
    )  # fmt: skip
    app.state.closing = lambda: False
    app.add_middleware(Guard, gate=gate, largest=lambda path: largest(viewer.setup, path))  # pyright: ignore[reportArgumentType]
    for router in (watching(viewer, work, live), showing(viewer, work), asking(viewer, work, live)):
        app.include_router(router)
    for kind in ERRORS:
        app.add_exception_handler(kind, _problem)
    return app


def largest(setup: Setup, path: str) -> int:
    """Bytes that the body of a request may have.

    >>> largest(Setup(columns=2048, rows=1024), "/api/tell/7"), largest(Setup(columns=8), "/api/suggest")
    (16842752, 65536)
    """
    frames = {"/api/tell": 1, "/api/fields": FIELDS}.get(path.rpartition("/")[0], 0)
    return SMALL + frames * setup.rows * setup.columns * WORD


async def _problem(request: Request, error: Exception) -> Response:
    """What went wrong, by kind: a status, a word, a sentence."""
    if isinstance(error, HTTPException):
        answer = problem(error.status_code, HTTPStatus(error.status_code).phrase.lower(), str(error.detail))
        answer.headers.update(error.headers or {})
        return answer
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        return problem(400, "invalid", f"{'.'.join(map(str, first['loc']))}: {first['msg']}")
    if isinstance(error, Refused):
        return problem(404 if error.code == "unknown" else 409, error.code, str(error))
    if isinstance(error, Missing):
        return problem(404, "unknown", str(error))
    if isinstance(error, Busy | MemoryError):
        return problem(503, "busy", str(error) or "there is not enough memory; ask again")
    if isinstance(error, ValueError):
        return problem(400, "invalid", str(error))
    if isinstance(error, OSError):
        return problem(507, "disk", str(error))
    return problem(500, "fault", "the service failed to answer; what was acknowledged before is on disk")
