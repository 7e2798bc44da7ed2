"""Webhooks: who is told what, in which words, how often it is tried, and that no rollout ever waits for them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from doubles.telemetry import ManualClock
from doubles.webhook import PATH, Receiver, receiving
from stateful.world import World
from unit.report.told import PAUSED, PROMOTED, ROLLED_BACK, STUCK, T0, plan, tell

from deployer.clocks import SystemClock
from deployer.engine.http import Limits
from deployer.engine.operations import roll_out
from deployer.engine.rollback import roll_back
from deployer.errors import DeployerError, ExitCode, PlatformError
from deployer.manifest.notify import Occasion, Webhook, WebhookFormat
from deployer.notify import notifier as notifier_module
from deployer.notify.courier import WAITING, Courier, Patience
from deployer.notify.formats import body_of
from deployer.notify.message import Message, message_of
from deployer.notify.notifier import Notifier
from deployer.report.listeners import Many, Quiet
from deployer.rollout.ending import Ended
from deployer.rollout.events import Event

KEY = "planted" + "-signing-key-0001"
QUICK = Patience(deadline_s=3.0, backoff_s=0.02, limits=Limits(connect_s=1.0, read_s=1.0, total_s=1.0))
ALL = list(Occasion)
HOSTILE = (
    "<!channel> <https://evil|x> @here *b* _i_ `c` [t](http://evil) {{DATE(2026-01-01,SHORT)}} ${x} "
    "::set-output name=a::b ##vso[task] \x1b[31mred \u202eback <script>alert(1)</script> &amp; :boom:"
)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving(Receiver()) as made:
        yield made


def webhook(url: str, form: str = "generic", events: list[Occasion] = ALL, secret: str | None = KEY) -> Webhook:
    given = {"webhook": url, "format": form, "events": [each.value for each in events]}
    return Webhook.model_validate(given | ({"secret": secret} if secret and form == "generic" else {}))


def notifier(*webhooks: Webhook, notes: list[str] | None = None, patience: Patience = QUICK) -> Notifier:
    said = [] if notes is None else notes
    return Notifier(
        lambda: webhooks,
        endpoint="digits",
        platform="local",
        actor="ann@desk",
        clock=SystemClock(),
        note=said.append,
        patience=patience,
    )


def hear(listener: Quiet, *events: Event) -> None:
    for state, event, at in tell(*events):
        listener.on_event(state, event, at)


def types(receiver: Receiver) -> list[str]:
    return [body["type"].removeprefix("rollout.") for body in receiver.bodies]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (PROMOTED, ["started", *["advanced"] * 5, "promoted"]),
        (PAUSED, ["started", "advanced", "advanced", "advanced"]),
        (ROLLED_BACK, ["started", "advanced", "rolling_back", "rolled_back"]),
        (STUCK, ["started", "advanced", "rolling_back", "stuck"]),
    ],
)
def test_a_receiver_is_told_of_every_occasion_in_order(
    receiver: Receiver, events: tuple[Event, ...], expected: list[str]
) -> None:
    with notifier(webhook(receiver.url)) as listener:
        hear(listener, *events)
    assert types(receiver) == expected


def test_a_receiver_is_told_only_what_it_asked_for(receiver: Receiver) -> None:
    with notifier(webhook(receiver.url, events=[Occasion.ROLLED_BACK, Occasion.STUCK])) as listener:
        hear(listener, *ROLLED_BACK)
    assert types(receiver) == ["rolled_back"]
    assert receiver.bodies[0]["data"]["exit_code"] == ExitCode.GATE_FAILED


def test_a_webhook_without_an_address_is_off() -> None:
    notes: list[str] = []
    with notifier(webhook("", secret=None), notes=notes) as listener:
        hear(listener, *STUCK)
    assert notes == []


def test_a_message_says_what_a_person_needs(receiver: Receiver) -> None:
    with notifier(webhook(receiver.url, events=[Occasion.STUCK])) as listener:
        hear(listener, *STUCK)
    (body,) = receiver.bodies
    assert body["data"] | {"id": "", "reason": ""} == {
        "id": "",
        "endpoint": "digits",
        "platform": "local",
        "rollout_id": "20260101T000000-abcd",
        "candidate": "green",
        "stable": "blue",
        "traffic": "blue 80%, green 20%",
        "step": "20%",
        "exit_code": 30,
        "actor": "ann@desk",
        "headline": "digits: STUCK: a human must act now",
        "reason": "",
    }
    assert "traffic is blue 80%, green 20%, not blue 100%" in body["data"]["reason"]


def test_the_same_event_has_the_same_id_in_every_process(receiver: Receiver) -> None:
    for _ in range(2):
        with notifier(webhook(receiver.url, events=[Occasion.PROMOTED])) as listener:
            hear(listener, *PROMOTED)
    first, second = (headers["webhook-id"] for headers, _ in receiver.got)
    assert first == second == receiver.bodies[0]["data"]["id"]


def test_a_signature_holds_for_the_bytes_the_id_and_the_time_that_were_sent(receiver: Receiver) -> None:
    with notifier(webhook(receiver.url, events=[Occasion.PROMOTED])) as listener:
        hear(listener, *PROMOTED)
    headers, body = receiver.got[0]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(KEY.encode(), signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert abs(int(headers["webhook-timestamp"]) - SystemClock().now().timestamp()) < 60


def test_a_secret_with_the_prefix_of_the_standard_is_base64(receiver: Receiver) -> None:
    secret = "whsec_" + base64.b64encode(b"0123456789abcdef").decode()
    assert webhook("https://x.example/", secret=secret).key == b"0123456789abcdef"
    assert webhook("https://x.example/").key == KEY.encode()


def test_a_receiver_that_is_busy_is_tried_again_with_the_same_id_and_a_new_time(receiver: Receiver) -> None:
    receiver.answers = [(503, {}), (429, {"Retry-After": "0.05"}), (500, {"Retry-After": "soon"})]
    notes: list[str] = []
    with notifier(webhook(receiver.url, events=[Occasion.STUCK]), notes=notes) as listener:
        hear(listener, *STUCK)
        receiver.wait_for(4)
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    assert len(receiver.got) == 4
    assert notes == []


@pytest.mark.parametrize(
    ("answer", "why"),
    [(404, "HTTP 404"), (400, "HTTP 400"), (302, "HTTP 302: redirects are not followed")],
)
def test_a_refusal_is_not_tried_again_and_becomes_a_note(receiver: Receiver, answer: int, why: str) -> None:
    receiver.answers = [(answer, {"Location": "http://127.0.0.1:1/"})]
    notes: list[str] = []
    with notifier(webhook(receiver.url, events=[Occasion.STUCK]), notes=notes) as listener:
        hear(listener, *STUCK)
    assert notes == [f"notify[0] (generic): stuck was not delivered: {why}"]
    assert len(receiver.got) == 1


def test_patience_ends(receiver: Receiver) -> None:
    receiver.answers = [(503, {})] * 100
    notes: list[str] = []
    short = Patience(deadline_s=0.2, backoff_s=0.05, limits=QUICK.limits)
    with notifier(webhook(receiver.url, events=[Occasion.STUCK]), notes=notes, patience=short) as listener:
        hear(listener, *STUCK)
    assert notes == ["notify[0] (generic): stuck was not delivered: HTTP 503; given up after 0.2s"]


def test_nobody_listening_there_is_a_note_without_the_address() -> None:
    notes: list[str] = []
    short = Patience(deadline_s=0.05, backoff_s=0.05, limits=QUICK.limits)
    address = webhook(f"http://127.0.0.1:1{PATH}", events=[Occasion.STUCK])
    with notifier(address, notes=notes, patience=short) as listener:
        hear(listener, *STUCK)
    assert notes == ["notify[0] (generic): stuck was not delivered: no answer (transient); given up after 0.05s"]
    assert PATH not in repr(address) + str(address) + address.model_dump_json() + "".join(notes)
    assert KEY not in repr(address) + str(address) + address.model_dump_json()


def test_a_rollout_does_not_wait_for_a_receiver_that_hangs_for_ever(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifier_module, "FLUSH_S", 0.2)
    receiver.hangs = True
    world, notes = World(tmp_path), list[str]()
    patient = Patience(limits=Limits(connect_s=600.0, read_s=600.0, total_s=600.0))
    listener = Many(Quiet(), notifier(webhook(receiver.url), notes=notes, patience=patient))
    began = monotonic()
    with listener:
        done = roll_out(world.site(), world.job(), listener, rollout_id="r1")
        assert done.exit_code is ExitCode.OK
        receiver.wait_for(1)
    assert monotonic() - began < 60  # the receiver would have held it for 600 s
    assert world.traffic() == {"green": 100}
    (note,) = notes
    assert note.startswith("notify[0] (generic): ")
    assert note.endswith("not delivered in time, left")
    assert len(receiver.got) == 1


def test_a_rollback_is_told_when_it_is_done_and_needs_no_manifest_before(receiver: Receiver, tmp_path: Path) -> None:
    world, asked = World(tmp_path), list[dict[str, int]]()
    world.roll_out()

    def found() -> list[Webhook]:
        asked.append(dict(world.traffic()))
        return [webhook(receiver.url)]

    made = Notifier(
        found, endpoint="digits", platform="local", actor="ann", clock=ManualClock(), note=print, patience=QUICK
    )
    with made as listener:
        done = roll_back(world.site(), listener, to=None, reason="wrong model")
        listener.on_done(done)
    assert done.exit_code is ExitCode.OK
    assert asked == [dict(world.traffic())]
    assert types(receiver) == ["rolled_back"]
    assert receiver.bodies[0]["data"]["reason"] == done.text


def finding(
    monkeypatch: pytest.MonkeyPatch, find: Callable[[], list[Webhook]], flush_s: float = 5.0
) -> tuple[Notifier, list[str]]:
    monkeypatch.setattr(notifier_module, "FLUSH_S", flush_s)
    notes: list[str] = []
    made = Notifier(
        find, endpoint="digits", platform="local", actor="ann", clock=SystemClock(), note=notes.append, patience=QUICK
    )
    return made, notes


def test_a_rollout_does_not_wait_until_it_is_known_who_is_told(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_find, finders = threading.Event(), list[str]()

    def find() -> list[Webhook]:
        finders.append(threading.current_thread().name)
        may_find.wait(60.0)
        return [webhook(receiver.url)]

    listener, notes = finding(monkeypatch, find)
    with listener:
        hear(listener, *ROLLED_BACK)
        assert receiver.got == []
        may_find.set()
    assert types(receiver) == ["started", "advanced", "rolling_back", "rolled_back"]
    assert finders == ["webhooks"]
    assert notes == []


def test_webhooks_that_are_never_found_are_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()

    def find() -> list[Webhook]:
        never.wait(60.0)
        return []

    listener, notes = finding(monkeypatch, find, 0.05)
    with listener:
        hear(listener, *STUCK)
    never.set()
    assert notes == ["nobody else is told: the webhooks could not be found in time, left"]


def test_a_bug_in_finding_them_is_one_note_and_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def find() -> list[Webhook]:
        raise RuntimeError

    listener, notes = finding(monkeypatch, find)
    with listener:
        hear(listener, *STUCK)
    assert notes == ["nobody else is told: internal error: RuntimeError"]


def test_nothing_to_roll_back_is_nothing_to_tell(receiver: Receiver) -> None:
    with notifier(webhook(receiver.url)) as listener:
        listener.on_done(Ended(ExitCode.OK, "nothing to do: blue has 100% already"))
    assert receiver.got == []


class _StuckError(DeployerError):
    exit_code = ExitCode.STUCK


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (_StuckError("traffic is unknown", hint="Look at it."), ["stuck"]),
        (RuntimeError("bug with a planted value"), ["stuck"]),
        (PlatformError("nothing was shifted", hint="Wait."), []),
        (KeyboardInterrupt(), []),
    ],
)
def test_an_error_that_leaves_traffic_unknown_is_told(
    receiver: Receiver, error: BaseException, told: list[str]
) -> None:
    with pytest.raises(type(error)), notifier(webhook(receiver.url)) as listener:  # noqa: PT012
        assert isinstance(listener, Notifier)
        raise error
    assert types(receiver) == told
    assert all("planted" not in body["data"]["reason"] for body in receiver.bodies)


def test_more_messages_than_may_wait_are_said_and_dropped(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    receiver.hangs = True
    notes: list[str] = []
    courier = Courier("notify[0] (slack)", webhook(receiver.url, "slack"), SystemClock(), notes.append, QUICK)
    courier.hand(told_of("x"))
    receiver.wait_for(1)
    for _ in range(WAITING + 3):
        courier.hand(told_of("x"))
    assert notes == [f"notify[0] (slack): stuck is not told: {WAITING} messages wait already"] * 3
    courier.close(monotonic())


def told_of(text: str) -> Message:
    told = tell(*STUCK, plan=plan(endpoint=text, candidate=text + "2", stable=text))
    state, event, at = told[-1]
    made = message_of(state, event, at, platform=text, actor=text)
    assert made is not None
    return made


def strings(record: Any) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every text of a JSON document with its key and what holds it."""
    if isinstance(record, dict):
        for key, value in record.items():
            if isinstance(value, str):
                yield key, value, record
            yield from strings(value)
    elif isinstance(record, list):
        for each in record:
            yield from strings(each)


@pytest.mark.parametrize("form", list(WebhookFormat))
def test_hostile_names_are_text_in_every_format(form: WebhookFormat) -> None:
    document = json.loads(body_of(told_of(HOSTILE), form))
    for key, value, holder in strings(document):
        assert "\x1b" not in value
        assert "\u202e" not in value
        assert not value.startswith("::")
        assert "##vso[" not in value
        if form is WebhookFormat.SLACK and key == "text":
            is_mrkdwn = holder.get("type") != "plain_text"
            assert not is_mrkdwn or ("<" not in value and ">" not in value)
            assert is_mrkdwn or holder["emoji"] is False
        if form is WebhookFormat.TEAMS and key == "text":
            assert holder["type"] == "TextRun"
            assert "{{" not in value


@pytest.mark.parametrize("form", list(WebhookFormat))
def test_messages_stay_within_what_receivers_take(form: WebhookFormat) -> None:
    body = body_of(told_of("é" * 1_000_000), form)
    assert len(body) < 28_000  # Teams' limit of a message
    for key, value, _ in strings(json.loads(body)):
        assert len(value) <= 3000, key


def test_a_listener_that_fails_is_said_and_the_others_go_on() -> None:
    class Broken(Quiet):
        def on_event(self, state: Any, event: Any, at: datetime) -> None:
            raise OSError("with a planted value")

    class Screen(Quiet):
        def __init__(self) -> None:
            self.said: list[str] = []
            self.seen = 0

        def on_event(self, state: Any, event: Any, at: datetime) -> None:
            self.seen += 1

        def on_note(self, text: str) -> None:
            self.said.append(text)

    first, last = Screen(), Screen()
    with Many(first, Broken(), last) as listener:
        state, event, at = tell()[0]
        listener.on_event(state, event, at + timedelta(seconds=1))
    assert (first.seen, last.seen) == (1, 1)
    assert first.said == ["Broken failed and is left out: OSError"]


def test_messages_carry_the_time_of_the_journal(receiver: Receiver) -> None:
    with notifier(webhook(receiver.url, events=[Occasion.STARTED])) as listener:
        hear(listener)
    assert receiver.bodies[0]["timestamp"] == T0.isoformat()
