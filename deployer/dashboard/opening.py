"""Opens the dashboard in a browser without the token in anybody's list of processes."""

from __future__ import annotations

import os
import threading
import webbrowser
from pathlib import Path

from markupsafe import escape

from deployer.wiring.sites import home


def open_in_browser(url: str, folder: Path | None = None) -> threading.Thread:
    """Have a browser open ``url`` by way of a file that this user alone may read; returns at once."""
    folder = folder or home() / "dashboard"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / "open.html"
    path.unlink(missing_ok=True)
    to = escape(url)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(f'<meta http-equiv="refresh" content="0; url={to}"><a href="{to}">Open the dashboard</a>\n')
    opening = threading.Thread(target=webbrowser.open, args=(path.as_uri(),), daemon=True)
    opening.start()
    return opening
