"""The pages of a followed run, for this machine only.

The address has a random token. Requests with another name in `Host` are refused, so that a page of
the Internet whose name is made to lead to this machine (DNS rebinding) cannot read anything.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from socket import socket

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler

from harness.errors import RunLogError
from harness.records.rollouts import Exchange
from reports.html.page import render_page
from reports.html.transcripts import Room, score_details, transcript
from reports.text import visible
from reports.view.followed_run import FollowedRun
from reports.view.rows import Choice

_PAGE = 100  # rows of an answer
_PAUSE = 0.5  # seconds between two looks at a log that has nothing new, and between messages
_LARGEST = 2_000_000
_WHOLE = Room(_LARGEST, _LARGEST, _LARGEST, first_events=3_000, last_events=1_000, tools=True)
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'; object-src 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",  # the page itself has the rest
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Server:
    """Serves one run at `address`, on a socket that listens on this machine."""

    def __init__(
        self, run: FollowedRun, listening: socket, as_command: Callable[[Exchange], str]
    ) -> None:
        """Prepare to serve; `as_command` writes a request as a command for a shell."""
        self._run, self._socket, self._as_command = run, listening, as_command
        host, port = listening.getsockname()[:2]
        self._hosts = {f"{name}:{port}" for name in (host, "localhost")}
        self._token = secrets.token_urlsafe(16)
        self.address = f"http://{host}:{port}/{self._token}/"

    async def serve(self, ready: Callable[[], object]) -> None:
        """Call `ready` and serve until this is cancelled. Raises RunLogError."""
        runner = web.AppRunner(self.application(), access_log=None, shutdown_timeout=0.1)
        await asyncio.to_thread(self._run.look)
        await runner.setup()
        try:
            await web.SockSite(runner, self._socket).start()
            ready()
            while True:
                if not await asyncio.to_thread(self._run.look):
                    await asyncio.sleep(_PAUSE)
        finally:
            await runner.cleanup()

    def application(self) -> web.Application:
        """Return what answers the requests."""
        made = web.Application(middlewares=[self._guard])
        made.on_response_prepare.append(_protect)
        for path, answer in (
            ("", self._page),
            ("rows", self._rows),
            ("attempt", self._attempt),
            ("samples", self._samples),
            ("changes", self._changes),
        ):
            made.router.add_get(f"/{self._token}/{path}", answer)
        return made

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.host not in self._hosts:
            return web.Response(status=421, text="This address is not served here.")
        try:
            return await handler(request)
        except RunLogError as error:
            return _json({"problem": visible(str(error))}, status=500)

    async def _page(self, _: web.Request) -> web.Response:
        info = self._run.info
        page = render_page(
            "view.html",
            {"progress": self._run.progress(), "first": self._answer(Choice(), 0)},
            own_scripts=("transcript.js", "view.js"),
            own_styles=("view.css",),
            asks_server=True,
            run=self._run.folder.name,
            title=f"{info.model} on {info.provider.name}",
        )
        return web.Response(text=page, content_type="text/html")

    async def _rows(self, request: web.Request) -> web.Response:
        number = request.query.get("first", "")
        first = int(number) if number.isdecimal() else 0
        return _json(self._answer(Choice.of(request.query), first))

    def _answer(self, choice: Choice, first: int) -> Mapping[str, object]:
        """Return the rows of a choice from the `first` one on, as many as an answer has."""
        rows = self._run.chosen(choice)
        shown = rows[first : first + _PAGE]
        self._run.want(shown)
        return {"total": len(rows), "rows": [row.shown() for row in shown]}

    async def _attempt(self, request: web.Request) -> web.Response:
        """Answer with one attempt, and with its place in the rows that are chosen."""
        row = self._run.find(request.query.get("record", ""))
        rollout = None if row is None else await asyncio.to_thread(self._run.rollout, row)
        if row is None or rollout is None:
            return _json({"problem": "The run has no such attempt."}, status=404)
        rows = self._run.chosen(Choice.of(request.query))
        made = transcript(rollout, row.score, _WHOLE)
        return _json(
            {
                **row.shown(),
                "at": next((at for at, other in enumerate(rows) if other is row), None),
                "score": row.score and score_details(row.score, row.condition.name),
                "transcript": made,
                "commands": [visible(self._as_command(each)) for each in rollout.exchanges],
            }
        )

    async def _samples(self, _: web.Request) -> web.Response:
        return _json(self._run.samples())

    async def _changes(self, request: web.Request) -> web.StreamResponse:
        """Send the progress of the run whenever it changes, as server-sent events."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        sent = -1
        with suppress(ConnectionResetError):
            while True:
                if sent != self._run.version:
                    sent = self._run.version
                    await response.write(b"data: %b\n\n" % orjson.dumps(self._run.progress()))
                await asyncio.sleep(_PAUSE)
        return response


async def _protect(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS)


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(value), content_type="application/json", status=status)
