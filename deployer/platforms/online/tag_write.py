"""Changing an endpoint's tags on Azure, which has no ETag: read, compare, PATCH the whole map, read back twice.

A PATCH of tags leaves traffic alone. Two writers that compare at the same moment both write, and the last one stays:
the two reads, apart, show it to the other one, which then withdraws.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from deployer.errors import ConflictError, PlatformError, TransientError
from deployer.platforms.online.endpoint_resource import (
    API,
    BUSY,
    BUSY_S,
    LOST_S,
    POLL_S,
    READ_BACK_S,
    Deadline,
    EndpointResource,
    state_of,
)
from deployer.platforms.online.traffic_write import require_tags, shows_tags

KEY_MAX = 256
VALUE_MAX = 256
"""Characters. Source: learn.microsoft.com/azure/azure-resource-manager/management/tag-resources (512 and 256)."""
TAGS_MAX = 50
"""Of one resource; same source."""
LOOK_S = 1.0


class TagWrite:
    """Writes the tags of one endpoint."""

    def __init__(self, resource: EndpointResource) -> None:
        self._resource = resource
        self._removes = True
        """Whether leaving a key out of the PATCH removes it, as far as seen; else it is written empty."""

    def write(
        self, tags: Mapping[str, str | None], expect: Mapping[str, str | None] | None, *, within_s: float = BUSY_S
    ) -> None:
        """Merge ``tags``; return once two reads show them. See ``ports.platform.Platform.set_tags``.

        Args:
            tags: keys and values.
            expect: what must hold.
            within_s: how long a busy endpoint is waited for.
        """
        check_tags(tags)
        resource, sent = self._resource, False
        deadline = Deadline(resource.clock, within_s)
        while True:
            with resource.lock:
                before = resource.fresh()
                if not (sent and shows_tags(before, tags)):  # a lost answer: our own write made ``expect`` untrue
                    require_tags(before, expect)
                if shows_tags(before, tags) and self._stays(tags):
                    return
                if state_of(before) not in BUSY or deadline.has_passed:
                    sent = True
                    if self._patch(before, tags):
                        return
            if deadline.has_passed:
                raise TransientError(
                    f"the tags of endpoint {resource.name} could not be written for {within_s:g} s",
                    hint="Look in the portal for the operation that keeps it busy, then run it again.",
                )
            resource.clock.sleep(POLL_S)

    def _patch(self, before: Mapping[str, Any], tags: Mapping[str, str | None]) -> bool:
        """Send the whole map once; whether it then shows."""
        kept = cast("dict[str, str]", before.get("tags") or {})
        merged = {key: value if value is not None else "" for key, value in {**kept, **tags}.items()}
        if self._removes:
            ours = {*tags, *(key for key in merged if key.startswith("deployer."))}
            merged = {key: value for key, value in merged.items() if value or key not in ours}
        if len(merged) > TAGS_MAX:
            raise PlatformError(
                f"endpoint {self._resource.name} would have {len(merged)} tags; Azure keeps {TAGS_MAX}",
                hint="Remove tags of your own, or shorten the environment variables of the deployment.",
            )
        self._resource.writes()
        try:
            self._resource.arm.patch(self._resource.path, API, {"tags": merged})
        except (ConflictError, TransientError):
            return False  # the next read tells
        waiting = Deadline(self._resource.clock, LOST_S)
        while not waiting.has_passed:
            now = self._resource.look()
            if now is not None and shows_tags(now, tags):
                return self._stays(tags)
            waiting.pause(LOOK_S)
        if any(value is None for value in tags.values()):
            self._removes = False
        return False

    def _stays(self, tags: Mapping[str, str | None]) -> bool:
        """Whether a second read, a little later, still shows them."""
        self._resource.clock.sleep(READ_BACK_S)
        again = self._resource.look()
        if again is None or not shows_tags(again, tags):
            return False
        self._resource.wrote(lambda document: shows_tags(document, tags))
        return True


def check_tags(tags: Mapping[str, str | None]) -> None:
    """Refuse what Azure would refuse.

    Raises:
        PlatformError: nothing was written.
    """
    for key, value in tags.items():
        if not key or len(key) > KEY_MAX or len(value or "") > VALUE_MAX:
            raise PlatformError(
                f"tag {key[:40]!r} is empty or longer than {KEY_MAX} characters, or its value than {VALUE_MAX}",
                hint="Shorten it.",
            )
