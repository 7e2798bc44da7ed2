"""Puts a self-contained page into the dashboard's frame: the way back, live updates, and a policy for both.

A page is rendered once, for everybody; what differs by answer, the nonce, is put in here. The places where it goes in
are of the shell itself, before any text from outside, and such text is escaped.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from markupsafe import Markup

REFRESH_S = 5
"""How often a browser without JavaScript asks again."""
_STYLE = re.compile(r"style-src ('sha256-[A-Za-z0-9+/=]+')")
_META = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>\n?')
SCRIPT = """
(() => {
  const main = document.getElementById("main"), live = document.getElementById("live");
  const say = (text) => { if (live && live.textContent !== text) live.textContent = text; };
  const name = (details) => (details.querySelector("summary") || {}).textContent;
  async function refresh() {
    const answer = await fetch(location.href, {cache: "no-store", redirect: "error"});
    if (!answer.ok) { say("not live: HTTP " + answer.status); return; }
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("main");
    const open = new Map([...main.querySelectorAll("details")].map((each) => [name(each), each.open]));
    for (const each of fresh.querySelectorAll("details")) if (open.has(name(each))) each.open = open.get(name(each));
    const before = [...main.children], after = [...fresh.children];
    after.forEach((each, place) => {
      const old = before[place];
      if (!old) main.append(each);
      else if (old.id !== "live" && old.outerHTML !== each.outerHTML) old.replaceWith(each);
    });
    before.slice(after.length).forEach((each) => each.remove());
  }
  let seen = main.dataset.state, running = Promise.resolve();
  const events = new EventSource("/events?page=" + encodeURIComponent(location.pathname));
  events.onopen = () => say("live");
  events.onerror = () => say("not live: is the dashboard still running?");
  events.onmessage = (event) => {
    say("live");
    if (event.data === seen) return;
    seen = event.data;
    running = running.then(refresh).catch(() => say("not live: is the dashboard still running?"));
  };
  addEventListener("pagehide", () => events.close());
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
})();
"""


def state_of(html: str) -> str:
    """Short name of a page's content: another one means that it changed."""
    return hashlib.sha256(html.encode()).hexdigest()[:20]


def policy(html: str, nonce: str) -> str:
    """The Content-Security-Policy that an answer with ``html`` carries."""
    found = _STYLE.search(html)
    style = found[1] if found else "'none'"
    return (
        f"default-src 'none'; style-src {style}; script-src 'nonce-{nonce}'; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def framed(html: str, nonce: str, crumbs: Sequence[tuple[str, str]]) -> str:
    """Give ``html`` its frame.

    Args:
        html: a whole page of ``report.html``.
        nonce: of this answer.
        crumbs: name and address of the pages above it.
    """
    links = Markup(" / ").join(Markup('<a href="{}">{}</a>').format(href, name) for name, href in crumbs)
    nav = Markup('<p class="live" id="live" role="status"></p><nav class="crumbs" aria-label="Above">{}</nav>')
    head = f'<noscript><meta http-equiv="refresh" content="{REFRESH_S}"></noscript>\n</head>'
    script = f'<script nonce="{nonce}">{SCRIPT}</script>\n</body>'
    state = state_of(html)
    html = _META.sub("", html, count=1)  # the answer's own policy takes its place
    html = html.replace("</head>", head, 1)
    html = html.replace('<main id="main">', f'<main id="main" data-state="{state}">\n{nav.format(links)}', 1)
    start, _, end = html.rpartition("</body>")
    return f"{start}{script}{end}" if start else html
