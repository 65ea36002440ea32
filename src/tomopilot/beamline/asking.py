"""Routes by which a scan is driven: what to measure, what was measured, and what operators wish."""

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as InPath
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from tomopilot.beamline.npy import array_of
from tomopilot.beamline.security import problem
from tomopilot.beamline.viewer import Viewer
from tomopilot.beamline.work import Work
from tomopilot.files.logbook import Wish
from tomopilot.live.held import Refused
from tomopilot.live.ledger import Suggestion
from tomopilot.live.live import Live

MOST = 1000  # angles of a sweep
WAIT, LOOK = 1.0, 0.02  # seconds for an answer to a wish, and between two looks for it
Key = Annotated[str, Field(min_length=1, max_length=200)]
Id = Annotated[int, InPath(ge=1, le=2**53)]
Degrees = Annotated[float | None, Query(allow_inf_nan=False)]
NPY = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class Problem(BaseModel):
    """Why something was not done."""

    code: str
    message: str


class Body(BaseModel):
    """What is sent as JSON; what is not known is refused."""

    model_config = ConfigDict(extra="forbid")


class Asked(Body):
    """A request for an angle; asked again with its key, it is answered the same."""

    key: Key | None = None


class AskedSweep(Asked):
    """A request for several angles."""

    count: Annotated[int, Field(ge=1, le=MOST)]


class Failure(Body):
    """Why an angle could not be measured."""

    reason: Annotated[str, Field(max_length=2000)]


class Wanted(Body):
    """What an operator wishes; the same key twice is one wish."""

    key: Key
    name: Literal["stop", "pause", "resume", "force", "uniform", "adaptive"]
    angle: Annotated[float | None, Field(allow_inf_nan=False)] = None  # degrees, of force


def asking(viewer: Viewer, work: Work, live: Live | None) -> APIRouter:
    """What changes a scan; `live` where this process holds it, else wishes only."""
    router = APIRouter(prefix="/api")

    def held() -> Live:
        if live is None:
            raise Refused(
                "watching", "this service only watches the scan; ask and tell the one that holds it"
            )
        return live

    @router.post("/suggest")
    async def suggest(asked: Asked) -> Suggestion:
        """The next angle to expose."""
        scan = held()
        return await work.slow(lambda: scan.suggest(asked.key))

    @router.post("/sweep")
    async def sweep(asked: AskedSweep) -> list[Suggestion]:
        """Angles to expose in one motion of the stage, chosen by the same samples; perhaps fewer."""
        scan = held()
        return await work.slow(lambda: scan.sweep(asked.count, asked.key))

    @router.post("/tell/{id}", openapi_extra=NPY)
    async def tell(
        id: Id, request: Request, angle: Degrees = None, monitor: Degrees = None
    ) -> dict[str, Any]:
        """Takes the frame of a suggestion, an .npy file; it is on disk once this is answered.

        angle: degrees that the stage read back; monitor: incident intensity, 1 as for the flat fields
        """
        scan, frame = held(), array_of(await request.body())
        return await work.slow(lambda: scan.tell(id, frame, angle, monitor))

    @router.post("/fields/{kind}", openapi_extra=NPY)
    async def fields(kind: Literal["flats", "darks"], request: Request) -> dict[str, int]:
        """Takes flat or dark fields, an .npy file of frames (n, rows, columns)."""
        scan, frames = held(), array_of(await request.body())
        take = {"flats": scan.flats, "darks": scan.darks}[kind]
        return {"event": await work.slow(lambda: take(frames))}

    @router.post("/fail/{id}")
    async def fail(id: Id, failure: Failure) -> dict[str, Any]:
        """A suggestion could not be measured; it is asked for again."""
        scan = held()
        return await work.slow(lambda: scan.fail(id, failure.reason))

    @router.post("/wishes", responses={202: {"model": Problem}})
    async def wishes(wanted: Wanted) -> Response:
        """What an operator wishes, answered by whoever holds the scan: granted, or why not."""
        wish = Wish(wanted.key, wanted.name, {} if wanted.angle is None else {"angle": wanted.angle})
        return await heard(viewer, work, wish, live is not None)

    return router


async def heard(viewer: Viewer, work: Work, wish: Wish, held: bool) -> Response:
    """The answer to a wish, as soon as whoever holds the scan gives one."""
    now = asyncio.get_running_loop().time
    late = now() + WAIT
    while not held and not viewer.alive:
        if now() > late:
            return problem(503, "unheld", "nobody holds the scan; start it again with `tomopilot resume`")
        await asyncio.sleep(LOOK)
    await work.quick(lambda: viewer.wish(wish))
    while (answer := await work.quick(lambda: viewer.answer(wish.key))) is None:
        if now() > late:
            return problem(202, "waiting", "the scan has not answered yet; ask again with the same key")
        await asyncio.sleep(LOOK)
    return JSONResponse(answer)
