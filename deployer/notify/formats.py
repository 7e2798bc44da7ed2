"""A message as each receiver wants it, in elements that know no markup: hostile names stay what they are.

Slack: ``plain_text`` objects are not read as mrkdwn; the fallback ``text`` is, so its ``&<>`` are escaped, and without
them there is no mention and no link. Teams: a ``TextRun`` knows no Markdown, a ``TextBlock`` does; date functions
(``{{DATE(...)}}``) are broken. Generic: JSON, with what a CI system would take for a command broken as in ``--json``.

Source: docs.slack.dev/messaging/formatting-message-text and docs.slack.dev/reference/block-kit (limits: header 150,
section 3,000 and field 2,000 characters); learn.microsoft.com/adaptive-cards (RichTextBlock since 1.2);
learn.microsoft.com/connectors/teams (Workflows take ``attachments`` of adaptive cards); read 2026-11-25.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import datetime
from typing import Any

from deployer.manifest.notify import Occasion, WebhookFormat
from deployer.notify.message import Message, cut

_COLOURS = {Occasion.PROMOTED: "good", Occasion.STUCK: "attention", Occasion.ROLLED_BACK: "warning"}
_HEADER, _SECTION, _FIELD = 150, 2900, 1900


def body_of(message: Message, form: WebhookFormat) -> bytes:
    """Write ``message`` as the JSON that a receiver of ``form`` takes."""
    match form:
        case WebhookFormat.SLACK:
            record = _slack(message)
        case WebhookFormat.TEAMS:
            record = _teams(message)
        case WebhookFormat.GENERIC:
            record = _generic(message)
    return json.dumps(record, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode()


def signature(key: bytes, message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """Headers that prove who sent ``body``, and when: HMAC-SHA256 over ``id.timestamp.body``.

    Args:
        key: what both sides know.
        message_id: the same for every attempt: the receiver drops what it has seen.
        at: when this attempt is made.
        body: exactly what is sent.

    Source: standardwebhooks.com, specification 1.0.0 (read 2026-11-25)
    """
    stamp = str(int(at.timestamp()))
    digest = hmac.new(key, b".".join((message_id.encode(), stamp.encode(), body)), hashlib.sha256).digest()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": stamp,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def _slack(message: Message) -> dict[str, Any]:
    fallback = cut(f"{message.headline}. {message.reason}", _SECTION)
    for mark, written in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        fallback = fallback.replace(mark, written)
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": _plain(message.headline, _HEADER)},
        {"type": "section", "text": _plain(message.reason or message.headline, _SECTION)},
        {"type": "section", "fields": [_plain(f"{name}\n{value}", _FIELD) for name, value in message.facts]},
    ]
    return {"text": fallback, "blocks": blocks, "unfurl_links": False, "unfurl_media": False}


def _plain(text: str, most: int) -> dict[str, Any]:
    return {"type": "plain_text", "text": cut(text, most), "emoji": False}


def _teams(message: Message) -> dict[str, Any]:
    headline = {"size": "Large", "weight": "Bolder", "color": _COLOURS.get(message.occasion, "default")}
    body = [_run(message.headline, **headline), _run(message.reason or message.headline)]
    body += [_rich({"text": f"{name}: ", "weight": "Bolder"}, {"text": value}) for name, value in message.facts]
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "fallbackText": _inert(message.headline),
        "body": body,
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


def _run(text: str, **style: str) -> dict[str, Any]:
    return _rich({"text": text, **style})


def _rich(*runs: dict[str, str]) -> dict[str, Any]:
    inlines = [{"type": "TextRun", **run, "text": _inert(run["text"])} for run in runs]
    return {"type": "RichTextBlock", "inlines": inlines}


def _inert(text: str) -> str:
    return text.replace("{{", "{ {").replace("${", "$ {")


def _generic(message: Message) -> dict[str, Any]:
    return {
        "type": f"rollout.{message.occasion.value}",
        "timestamp": message.at.isoformat(),
        "data": {
            "id": message.id,
            "endpoint": message.endpoint,
            "platform": message.platform,
            "rollout_id": message.rollout_id,
            "candidate": message.candidate,
            "stable": message.stable,
            "traffic": message.traffic or None,
            "step": message.step or None,
            "exit_code": message.exit_code,
            "actor": message.actor,
            "headline": message.headline,
            "reason": message.reason,
        },
    }
