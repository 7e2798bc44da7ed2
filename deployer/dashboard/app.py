"""The dashboard as an ASGI application: pages, and a stream that says when one has changed."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from time import monotonic

from anyio import sleep, to_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from deployer.dashboard.frame import framed, policy, state_of
from deployer.dashboard.pages import Pages
from deployer.dashboard.watching import Watching
from deployer.wiring.dashboard import Known

STREAMS = 100
"""Pages that are kept up to date at once; more are told to come back."""
LOOK_S = 1.0
FRESH_S = 0.5
"""How long a page that was made is good for everybody."""
MADE = 64
STEP_S = 0.1
"""How soon a stream notices that the server ends."""
ALIVE_S = 15.0

Crumbs = Sequence[tuple[str, str]]
Found = tuple[str, Crumbs]


class Dashboard:
    """Answers requests; knows nothing of who may ask."""

    def __init__(self, pages: Pages, watching: Watching, is_ending: Callable[[], bool]) -> None:
        """Say what is shown.

        Args:
            pages: makes them.
            watching: looks at endpoints while somebody reads.
            is_ending: the server ends: streams must too.
        """
        self._pages, self._watching, self._is_ending = pages, watching, is_ending
        self._streams = 0
        self._made: dict[str, tuple[float, Found | None]] = {}
        """Pages made a moment ago: many readers of one cost little more than one."""

    def app(self) -> Starlette:
        """The application."""
        return Starlette(
            routes=[
                Route("/events", self._events, methods=["GET"]),
                Route("/favicon.ico", _no_icon, methods=["GET"]),
                Route("/{path:path}", self._page, methods=["GET"]),
            ]
        )

    async def _page(self, request: Request) -> Response:
        self._watching.touch()
        found = await to_thread.run_sync(self._page_at, request.url.path)
        nonce = secrets.token_urlsafe(16)
        if found is None:
            return PlainTextResponse("there is no such page: it may be gone. Go back to /\n", 404)
        html, crumbs = found
        return HTMLResponse(framed(html, nonce, crumbs), headers={"content-security-policy": policy(html, nonce)})

    async def _events(self, request: Request) -> Response:
        if self._streams >= STREAMS:
            return PlainTextResponse("too many pages are open\n", 503, {"retry-after": "10"})
        page = request.query_params.get("page", "/")
        return StreamingResponse(self._told(page), media_type="text/event-stream")

    async def _told(self, page: str) -> AsyncIterator[str]:
        """Say the state of ``page`` at once, and again whenever it changed."""
        self._streams += 1
        try:
            said, quiet_s = "", 0.0
            yield "retry: 2000\n\n"
            while not self._is_ending():
                self._watching.touch()
                found = await to_thread.run_sync(self._page_at, page)
                state = state_of(found[0]) if found else "gone"
                quiet_s += LOOK_S
                if state != said or quiet_s >= ALIVE_S:
                    said, quiet_s = state, 0.0
                    yield f"data: {state}\n\n"
                for _ in range(round(LOOK_S / STEP_S)):
                    if self._is_ending():
                        return
                    await sleep(STEP_S)
        finally:
            self._streams -= 1

    def _page_at(self, path: str) -> Found | None:
        """Make the page at ``path``, or take the one made a moment ago; what cannot be made is a page that says so."""
        now, kept = monotonic(), self._made.get(path)
        if kept is not None and now - kept[0] < FRESH_S:
            return kept[1]
        try:
            found = self._find(path)
        except Exception as exc:  # noqa: BLE001 - whatever is on disk, the other pages are shown, and this one says why
            found = self._pages.failed(type(exc).__name__), (("Endpoints", "/"),)
        if len(self._made) >= MADE:
            self._made = {}
        self._made[path] = now, found
        return found

    def _find(self, path: str) -> Found | None:
        """Make the page at ``path``; every name in it must be one that is known."""
        kind, _, rest = path.strip("/").partition("/")
        known = self._pages.known()
        top: Crumbs = (("Endpoints", "/"),)
        if not kind:
            return self._pages.overview(), ()
        if kind == "endpoint" and rest in known:
            return self._pages.endpoint(known[rest]), top
        if kind == "profile":
            return _with(self._pages.profile(rest), top)
        key, _, name = rest.rpartition("/")
        if key not in known:
            return None
        above = (*top, (known[key].name, f"/endpoint/{key}"))
        makers: dict[str, Callable[[Known, str], str | None]] = {
            "rollout": self._pages.rollout,
            "loadtest": self._pages.load_test,
        }
        return _with(makers[kind](known[key], name), above) if kind in makers else None


def _with(html: str | None, crumbs: Crumbs) -> Found | None:
    return None if html is None else (html, crumbs)


async def _no_icon(_request: Request) -> Response:
    return Response(status_code=204)
