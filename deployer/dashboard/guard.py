"""Who may read: whoever has the token that was printed, at the address that was printed, and no other web site.

Source: OWASP Cheat Sheets, "DNS Rebinding" and "Content Security Policy"; the token in the address and the cookie that
takes its place are as Jupyter Server does it (read 2026-11-25).
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Collection
from ipaddress import ip_address
from urllib.parse import parse_qsl, quote, urlencode

from markupsafe import escape
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
NOTHING = "default-src 'none'; frame-ancestors 'none'"


class Guard:
    """Lets through GET and HEAD, to a name of this host, from who knows the token."""

    def __init__(self, app: ASGIApp, *, token: str, port: int, names: Collection[str], exposed: bool) -> None:
        """Stand before ``app``.

        Args:
            app: what is guarded.
            token: what the printed address carries.
            port: that is listened on, so that the cookies of two dashboards differ.
            names: of this host, besides the loopback's.
            exposed: other machines may read too, by an IP address.
        """
        self._app, self._token = app, token
        self._names, self._exposed = {name.lower() for name in names}, exposed
        self._session = secrets.token_urlsafe(32)
        self._cookie = f"deployer-{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        if scope["type"] != "http":
            return
        refused = self._refused(scope)

        async def hardened(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                if "content-security-policy" not in headers:
                    headers["content-security-policy"] = NOTHING
            await send(message)

        await (refused or self._app)(scope, receive, hardened)

    def _refused(self, scope: Scope) -> Response | None:
        """Why not; None: it may pass."""
        headers = Headers(scope=scope)
        if scope["method"] not in ("GET", "HEAD"):
            return PlainTextResponse("read-only\n", 405, {"allow": "GET, HEAD"})
        if not self._is_ours(headers.get("host", "")):
            return PlainTextResponse("this is not a name of the dashboard\n", 421)
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = [value for name, value in query if name == "token"]
        if given:
            return self._exchanged(scope["path"], query) if _same(given[-1], self._token) else _forbidden()
        cookies = cookie_parser(headers.get("cookie", ""))
        return None if _same(cookies.get(self._cookie, ""), self._session) else _forbidden()

    def _exchanged(self, path: str, query: list[tuple[str, str]]) -> Response:
        """Send the browser to the same page without the token, which a cookie takes the place of.

        By a page of ours and not by HTTP's redirect: a browser that was led here from elsewhere (a link in a web
        terminal, a file) would not send a strict cookie along with that.
        """
        rest = urlencode([(name, value) for name, value in query if name != "token"])
        path = quote(f"/{path.lstrip('/')}")  # never another host, whatever stands in it
        to = escape(f"{path}?{rest}" if rest else path)
        answer = HTMLResponse(f'<meta http-equiv="refresh" content="0; url={to}"><a href="{to}">Go on</a>\n')
        answer.set_cookie(self._cookie, self._session, httponly=True, samesite="strict", path="/")
        return answer

    def _is_ours(self, host: str) -> bool:
        """Whether a Host header names us: a name that somebody had resolve to this host does not."""
        name = host if host.endswith("]") or ":" not in host else host.rpartition(":")[0]  # any port: ssh -L forwards
        name = name.lower().strip("[]")
        try:
            address = ip_address(name)
        except ValueError:
            return name == "localhost" or name in self._names
        return address.is_loopback or self._exposed


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), wanted.encode())


def _forbidden() -> Response:
    return PlainTextResponse("Open the address that `deployer dashboard` printed: it carries the token.\n", 403)
