"""Self-contained pages: one file, no script, nothing fetched, every text escaped."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from deployer.report.harmless import plain

LONGEST = 4000
"""Characters of one text that a page shows: enough for any message, and no text makes the page unreadable."""


def render(template: str, title: str, **facts: Any) -> str:
    """Render ``template`` (a file of ``templates/``) as a whole page.

    Args:
        template: file name, for example ``rollout.html.j2``; it extends ``base.html.j2``.
        title: of the page.
        facts: what the template shows. Texts are escaped; control characters are made harmless.

    Raises:
        jinja2.UndefinedError: the template names a fact that is not given.
    """
    css = _css()
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    return _environment().get_template(template).render(title=title, css=Markup(css), css_hash=digest, **facts)  # noqa: S704


@cache
def _css() -> str:
    return resources.files("deployer.report.html").joinpath("style.css").read_text("utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("deployer.report.html", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_harmless,
    )
    environment.filters["plain"] = plain
    return environment


def _harmless(value: object) -> object:
    """Make every text that is shown harmless, whether or not the template thinks of it."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    cut = f"{value[:LONGEST]}… ({len(value) - LONGEST:,} more characters)" if len(value) > LONGEST else value
    return plain(cut)
