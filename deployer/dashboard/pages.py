"""The pages: what is known of endpoints and rollouts, as facts for templates. Every text is escaped by the template."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from threading import Lock
from time import monotonic
from urllib.parse import quote

from markupsafe import Markup

from deployer.dashboard.watching import Seen, Watching
from deployer.errors import DeployerError
from deployer.manifest.quantities import format_duration
from deployer.ports.platform import Endpoint
from deployer.ports.views import Status
from deployer.report.harmless import plain
from deployer.report.html.charts import Series, line_chart
from deployer.report.html.page import render
from deployer.report.loadtest.page import page_of as load_test_page
from deployer.report.records import TEXT_LENGTH
from deployer.report.rollout.page import page_of as rollout_page
from deployer.report.rollout.record import headline_of, record_of
from deployer.report.status import who
from deployer.report.story import Story
from deployer.report.verdicts import versus, why
from deployer.report.words import event_words, first_line, phase_words, step_name
from deployer.rollout.ending import ended
from deployer.rollout.endpoint import in_words
from deployer.rollout.events import Judged, Reverted, Shifted
from deployer.rollout.model import WAY_BACK, Phase, Rollout
from deployer.wiring.dashboard import Archive, Known, Row, Steps, now

REPORTS = 32
"""Rollouts whose pages are kept in memory."""
EVENTS, ROWS = 60, 200
"""Latest events and rollouts that a page shows."""
KINDS = {
    "promoted": "good",
    "gate_failed": "bad",
    "inconclusive": "bad",
    "platform": "bad",
    "stuck": "bad",
    "aborted": "wait",
    "rolled_back_by_hand": "wait",
}


class Pages:
    """Makes pages from what is on disk and from the latest looks. Never waits for an endpoint."""

    def __init__(self, archive: Archive, watching: Watching, local: Callable[[], Iterable[Known]]) -> None:
        """Say where the facts are.

        Args:
            archive: of the past.
            watching: the latest looks.
            local: lists the local endpoints.
        """
        self._archive, self._watching, self._local = archive, watching, local
        self._rollouts: dict[tuple[str, str], tuple[tuple[int, int], str]] = {}
        self._lock = Lock()
        """Of the above: the same evidence is read once, for however many readers."""

    def known(self) -> dict[str, Known]:
        """Every endpoint, by its key."""
        found = {*self._archive.known(), *self._local(), *self._watching.all()}
        return {each.key: each for each in sorted(found)}

    def overview(self) -> str:
        """All endpoints."""
        cards = [self._card(each) for each in self.known().values()]
        profiles = [(name, f"/profile/{quote(name)}") for name in self._archive.profiles()]
        return render("dashboard_overview.html.j2", "Endpoints", cards=cards, profiles=profiles)

    def endpoint(self, of: Known) -> str:
        """One endpoint: where it stands, what happens, what happened."""
        rows, seen = self._archive.rows(of), self._watching.seen(of)
        steps, problem = self._latest(of, rows)
        status = seen.status if seen is not None else None
        tests = [(test, f"/loadtest/{quote(of.key)}/{quote(test)}") for test in self._archive.load_tests(of)[:ROWS]]
        return render(
            "dashboard_endpoint.html.j2",
            of.name,
            of=of,
            **_live(seen),
            problem=problem,
            traffic=_traffic(status) if status else (),
            deployments=_deployments(status.endpoint) if status else (),
            revisions=[
                (name, each.name, str(each.number), f"{each.at:%Y-%m-%d %H:%M}")
                for name, each in (("last good", status.good), ("before it", status.previous))
                if each is not None
            ]
            if status
            else (),
            runner=who(status.runner) if status and status.runner and status.marks and status.marks.is_active else "",
            abandoned=bool(status and status.marks and status.marks.is_active and status.runner is None),
            rollout=_rollout(of, steps) if steps else None,
            weight=_weight(steps) if steps else "",
            history=[_history(of, row) for row in rows[:ROWS]],
            history_kinds=[_row_kind(row) for row in rows[:ROWS]],
            tests=tests,
        )

    def rollout(self, of: Known, rollout_id: str) -> str | None:
        """One rollout, as ``deployer report`` writes it; None: there is none."""
        row = next((row for row in self._archive.rows(of) if row.id == rollout_id), None)
        if row is None:
            return None
        if row.past is None or row.past.outcome == "rolled_back_by_hand":
            return self._plain_row(of, row)
        try:
            return self._report(of, rollout_id)
        except (DeployerError, ValueError) as exc:
            said = exc.message if isinstance(exc, DeployerError) else "another version of deployer wrote it"
            return self._plain_row(of, Row(rollout_id, None, said))

    def _report(self, of: Known, rollout_id: str) -> str:
        mark = self._archive.mark(of, rollout_id)
        with self._lock:
            kept = self._rollouts.get((of.key, rollout_id))
            if kept is None or kept[0] != mark:
                kept = mark, rollout_page(record_of(self._archive.case(of, rollout_id)))
                while len(self._rollouts) >= REPORTS:
                    self._rollouts.pop(next(iter(self._rollouts)))
                self._rollouts[of.key, rollout_id] = kept
            return kept[1]

    def load_test(self, of: Known, test_id: str) -> str | None:
        """One load test, as ``deployer loadtest`` writes it; None: there is none."""
        if test_id not in self._archive.load_tests(of):
            return None
        record = self._archive.load_test(of, test_id)
        try:
            return load_test_page(record) if record is not None else _unreadable(test_id)
        except Exception:  # noqa: BLE001 - a file of another version, or one that somebody changed
            return _unreadable(test_id)

    def profile(self, name: str) -> str | None:
        """The page that a profile left; None: there is none."""
        return self._archive.profile(name)

    def failed(self, why: str) -> str:
        """A page that says that another one cannot be made."""
        text = f"This page cannot be made ({why}). The others can."
        return render("dashboard_plain.html.j2", "Not shown", kind="bad", of=None, text=text, who="")

    def _card(self, of: Known) -> dict[str, object]:
        rows, seen = self._archive.rows(of), self._watching.seen(of)
        steps, problem = self._latest(of, rows)
        status = seen.status if seen is not None else None
        last = next((row for row in rows if row.past is not None and row.past.outcome in KINDS), None)
        return {
            "of": of,
            "href": f"/endpoint/{quote(of.key)}",
            "rollouts": len(rows),
            "problem": problem,
            **_live(seen),
            "traffic": _traffic(status) if status else (),
            "rollout": _rollout(of, steps) if steps and not steps[-1][0].is_final else None,
            "last": _last(last),
            "last_kind": _row_kind(last) if last else "",
        }

    def _latest(self, of: Known, rows: Sequence[Row]) -> tuple[Steps, str]:
        """States of the latest rollout, and what is wrong with the journals."""
        damaged = [row for row in rows if row.past is None]
        problem = f"{len(damaged)} of {len(rows)} journals cannot be read: {damaged[0].problem}" if damaged else ""
        latest = next((row for row in rows if row.past and row.past.outcome != "rolled_back_by_hand"), None)
        if latest is None:
            return (), problem
        try:
            return self._archive.steps(of, latest.id), problem
        except (DeployerError, ValueError) as exc:
            return (), problem or str(exc)

    def _plain_row(self, of: Known, row: Row) -> str:
        text = row.past.text if row.past else row.problem
        who = f"{row.past.at:%Y-%m-%d %H:%M:%S} UTC by {row.past.actor}" if row.past else ""
        return render("dashboard_plain.html.j2", row.id, kind=_row_kind(row), of=of, text=text, who=who)


def _unreadable(name: str) -> str:
    text = "This result cannot be read: it was changed, or another version of deployer wrote it."
    return render("dashboard_plain.html.j2", name, kind="bad", of=None, text=text, who="")


def _live(seen: Seen | None) -> dict[str, object]:
    """What the latest look is worth, for people."""
    if seen is None:
        return {"live": "from journals only: name it on the command line to look at it", "live_kind": ""}
    said = seen.words(monotonic())
    if said == "down":
        return {"live": "down: its processes do not run", "live_kind": "wait"}
    if said:
        last = f"; last seen {seen.at:%H:%M:%S} UTC" if seen.at and seen.status else ""
        return {"live": f"{said}{last}", "live_kind": "bad"}
    return {"live": "live" if seen.status else "looking", "live_kind": "good" if seen.status else ""}


def _traffic(status: Status) -> list[tuple[str, int, str]]:
    """Name, percent and colour of who has traffic, the stable first; mirrored traffic is no share of it."""
    marks = status.marks if status.marks is not None and status.marks.is_active else None
    shares = sorted(status.endpoint.traffic.items(), key=lambda share: (-share[1], share[0]))
    if marks is None:
        return [(name, weight, "stable" if place == 0 else "neutral") for place, (name, weight) in enumerate(shares)]
    roles = {marks.candidate: "candidate", marks.stable: "stable"}
    found = [(name, weight, roles.get(name, "neutral")) for name, weight in shares]
    return sorted(found, key=lambda share: ("stable", "neutral", "candidate").index(share[2]))


def _deployments(endpoint: Endpoint) -> list[tuple[str, ...]]:
    return [
        (
            each.name,
            f"{endpoint.traffic.get(each.name, 0)} %"
            + (f", mirror {endpoint.mirror[each.name]} %" if endpoint.mirror.get(each.name) else ""),
            each.state.value,
            f"{each.instances_ready} of {each.instances_wanted}",
            each.message,
            (each.digest or "not made by deployer")[:12] if each.digest else "not made by deployer",
        )
        for each in endpoint.deployments.values()
    ]


def _rollout(of: Known, steps: Steps) -> dict[str, object]:
    """The latest rollout: verdict, tree and events."""
    state, _, at = steps[-1]
    story = Story()
    for each in steps:
        story.add(*each)
    clock = at if state.is_final else now()
    took = max((clock - state.started_at).total_seconds(), 0.0)
    plan = state.plan
    return {
        "href": f"/rollout/{quote(of.key)}/{quote(plan.rollout_id)}",
        "id": plan.rollout_id,
        "change": f"{plan.stable or 'nothing'} → {plan.candidate}",
        "is_final": state.is_final,
        "kind": _kind(state),
        "headline": headline_of(state)
        if state.is_final
        else f"{phase_words(state)}: {plan.stable or 'nothing'} → {plan.candidate}",
        "reason": _reason(state),
        "took": format_duration(round(took)),
        "traffic": in_words(state.traffic),
        "tree": [_step(state, story, place) for place in range(len(plan.steps))],
        "back": [first_line(line) for line in story.back],
        "events": _events(steps),
        "verdict": versus(state.verdict) if state.verdict else "",
    }


def _kind(state: Rollout) -> str:
    if state.phase is Phase.PROMOTED:
        return "good"
    return "bad" if state.phase in WAY_BACK else "wait" if state.phase is Phase.PAUSED else ""


def _reason(state: Rollout) -> str:
    if state.reason:
        return state.reason
    if state.is_final:
        return ended(state).text
    return f"{state.verdict.result.value}: {why(state.verdict)}" if state.verdict else ""


def _step(state: Rollout, story: Story, place: int) -> dict[str, str]:
    """One line of the tree: its mark (in words too), name, time and what was said."""
    plan = state.plan
    promoted = state.phase is Phase.PROMOTED
    if place < state.position or promoted:
        mark, word = "✔", "done"
    elif place > state.position:
        mark, word = "○", "not reached" if state.phase in WAY_BACK or state.is_final else "to come"
    elif state.phase in WAY_BACK:
        mark, word = "✖", "given up"
    else:
        mark, word = ("‖", "paused") if state.phase is Phase.PAUSED else ("●", "now")
    clock = now()
    seconds = story.seconds(place, clock) if mark != "○" else None
    return {
        "mark": mark,
        "word": word,
        "name": step_name(plan, plan.steps[place]),
        "took": format_duration(round(seconds, 1 if seconds < 10 else 0)) if seconds is not None else "",
        "told": story.lines.get(place, ""),
    }


def _events(steps: Steps) -> list[tuple[str, str, str]]:
    """The latest events but looks, newest first."""
    told: list[tuple[str, str, str]] = []
    verdict = None
    for state, event, at in steps:
        if isinstance(event, Judged):
            verdict = event.verdict
            continue
        kind, text = event_words(state, event, verdict)
        told.append((f"{at:%H:%M:%S}", kind, first_line(text)))
    return told[: -EVENTS - 1 : -1]


def _weight(steps: Steps) -> Markup:
    """The candidate's weight over time."""
    first, last = steps[0][2].timestamp(), steps[-1][2].timestamp()
    points = [(first, 0.0)]
    for state, event, at in steps:
        if isinstance(event, Shifted | Reverted):
            points.append((at.timestamp(), float(state.weight_pct)))
    points.append((last, points[-1][1]))
    return line_chart(
        "Weight of the candidate",
        "The candidate's share of users' traffic over time.",
        [Series(plain(steps[0][0].plan.candidate), points, role="candidate", step=True)],
        x_label="time (UTC)",
        y_label="% of traffic",
        x_format="time",
    )


def _row_kind(row: Row) -> str:
    return KINDS.get(row.past.outcome, "wait") if row.past else "bad"


def _last(row: Row | None) -> str:
    if row is None or row.past is None:
        return ""
    return f"{row.past.outcome.replace('_', ' ')}, {row.past.at:%Y-%m-%d %H:%M} UTC"


def _history(of: Known, row: Row) -> tuple[object, ...]:
    href = f"/rollout/{quote(of.key)}/{quote(row.id)}"
    link = Markup('<a href="{}">{}</a>').format(href, plain(row.id))
    if row.past is None:
        return link, "", "cannot be read", "", row.problem
    past = row.past
    took = format_duration(round(past.seconds)) if past.seconds else ""
    text = first_line(past.text)
    text = text if len(text) <= TEXT_LENGTH else f"{text[: TEXT_LENGTH - 1]}…"
    return link, f"{past.at:%Y-%m-%d %H:%M}", past.outcome.replace("_", " "), took, f"{text} ({past.actor})"
