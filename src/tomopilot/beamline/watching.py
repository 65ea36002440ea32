"""Routes that follow a scan: its state, its events, its setup."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse

from tomopilot.beamline.viewer import Viewer, as_json
from tomopilot.beamline.work import Busy, Work
from tomopilot.live.live import Live

LOOK = 0.1  # seconds between two looks at the record
BEAT = 0.5  # seconds between two signs of life on a stream
STREAMS = 32  # at a time
Number = Annotated[int, Query(ge=0, le=2**53)]  # of an event


def watching(viewer: Viewer, work: Work, live: Live | None) -> APIRouter:
    """What a reader wants to know; `live` where this process holds the scan."""
    router, streams = APIRouter(prefix="/api"), set[object]()

    @router.get("/state")
    async def state() -> dict[str, Any]:
        """Where the scan is, whether somebody holds it, and whether this service does."""
        own = {"holds": live is not None, "stuck": None if live is None else live.held.stuck}
        return await work.quick(viewer.state) | own

    @router.get("/setup")
    async def setup() -> dict[str, Any]:
        """What was said of the scan before it began, and which detector rows its slices are."""
        return viewer.about()

    @router.get("/angles")
    async def angles() -> list[float]:
        """Degrees of every angle that may be asked for, by the number of its design."""
        return await work.quick(lambda: viewer.angles)

    @router.get(
        "/events", response_class=StreamingResponse, responses={200: {"content": {"text/event-stream": {}}}}
    )
    async def events(
        request: Request,
        after: Number = 0,
        last_event_id: Annotated[int | None, Header(ge=0, le=2**53)] = None,
    ) -> StreamingResponse:
        """What has happened after an event, and goes on to happen, as server-sent events.

        Their ids are consecutive numbers from 1. About twice a second comes a `beat` without one.
        """
        if len(streams) >= STREAMS:
            raise Busy(f"{STREAMS} streams are open; close one")
        start = after if last_event_id is None else last_event_id
        own = object()

        async def counted() -> AsyncIterator[str]:
            streams.add(own)
            try:
                async for text in stream(viewer, start, request.app.state.closing):
                    yield text
            finally:
                streams.discard(own)

        return StreamingResponse(counted(), media_type="text/event-stream")

    return router


async def stream(viewer: Viewer, after: int, closing: Any) -> AsyncIterator[str]:
    """Events as a browser takes them; all of them where `after` is of another scan, which was longer."""
    clock, beat = asyncio.get_running_loop().time, 0.0
    sent = after if after <= viewer.ledger.last else 0
    while not closing():
        for event in viewer.events[sent:]:
            yield f"id: {event.number}\nevent: {event.kind}\ndata: {as_json(event._asdict())}\n\n"
            sent = event.number
        if clock() >= beat:
            beat = clock() + BEAT
            yield f"event: beat\ndata: {json.dumps({'alive': viewer.alive, 'event': sent})}\n\n"
        await asyncio.sleep(LOOK)
