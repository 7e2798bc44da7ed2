"""Why a deployment failed and what to do next, from what Azure said and what its containers printed. Pure.

What is known stands in ``failures`` and ``symptoms``. An unknown failure is said to be unknown, with what Azure said of
it and where the whole log is; nothing here guesses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from deployer.platforms.diagnosis.failures import FAILURES, GUIDE, KUBERNETES_STATUSES, MANAGED_STATUSES, VAGUE, Failure
from deployer.platforms.diagnosis.log_symptoms import LOGS
from deployer.platforms.diagnosis.log_text import excerpt, lines_of, one_line, raised
from deployer.platforms.diagnosis.symptoms import MESSAGES, Symptom

LINE_CHARS = 480
"""Longest ``Diagnosis.line``: it has to fit into a report's row and a journal's record."""

AZURES_WORDS = 200
"""Most that is quoted of Azure's own message where it is not understood."""
_GUIDANCE = re.compile(
    r"[.\s]*(?:Please see|For more (?:details|information)|See) .{0,40}(?:troubleshoot|guide|https?:).*", re.DOTALL
)
_FULL_LOG = "Read the whole log with `az ml online-deployment get-logs` (and `--container storage-initializer`)."
_INIT = "User's init function failed"
"""What azureml-inference-server-http 1.5.1 prints before the traceback."""
_KNOWN = re.compile(rf"\b(?:{'|'.join(sorted(FAILURES, key=len, reverse=True))})\b")
_STATUSES: Mapping[str, Mapping[int, Failure]] = {"managed": MANAGED_STATUSES, "kubernetes": KUBERNETES_STATUSES}
_BY_NAME = {code.lower(): code for code in FAILURES}


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What a failure means, and what to do."""

    code: str
    """Error code of Azure; the most telling one where several were given, ``Unknown`` where there is none."""
    meaning: str
    """A clause without a full stop."""
    next_step: str
    """One imperative sentence."""
    retryable: bool
    """Only waiting is needed: the same request may succeed later."""
    excerpt: str = ""
    """The lines of the log that matter, harmless and without secrets; empty when nothing was printed."""
    source: str = ""
    """Where this is documented; empty: nowhere."""

    @property
    def line(self) -> str:
        """All of it in one line of at most ``LINE_CHARS`` characters."""
        line = f"{self.code}: {self.meaning}. {self.next_step}"
        return line if len(line) <= LINE_CHARS else f"{line[: LINE_CHARS - 1]}…"


def diagnose(error_code: str, message: str, logs: Mapping[str, str]) -> Diagnosis:
    """Say why a deployment failed.

    Args:
        error_code: of the refusal or of the failed operation; may be empty.
        message: what came with it; may be JSON with further codes.
        logs: container (``InferenceServer``, ``StorageInitializer``) -> its log.
    """
    said = one_line(message, 4000)
    code = _telling(one_line(error_code, 80), said)
    known = FAILURES.get(code)
    lines = lines_of(logs)
    found = _found(MESSAGES, f"{code}: {said}")
    if found is not None:
        return _by_symptom(code, *found, excerpt(lines, None))
    if known is None or known.in_logs:
        for name, printed in lines.items():
            text = "\n".join(printed)
            if (found := _found(LOGS, text)) is not None:
                return _by_symptom(code, *found, excerpt(lines, (name, text.count("\n", 0, found[1].end()))))
        for printed in lines.values():
            if (exception := raised(printed)) is not None:
                return _by_exception(code, exception, printed, excerpt(lines, None))
    return _by_code(code, said, known, excerpt(lines, None))


def meaning_of(status: int, platform: str) -> str:
    """Say in one line what the ``status`` of a scoring answer means on ``platform``; empty: nothing is known of it."""
    known = _STATUSES.get(platform, {}).get(status)
    return "" if known is None else f"{known.meaning}: {known.next_step[0].lower()}{known.next_step[1:].rstrip('.')}"


def _telling(error_code: str, said: str) -> str:
    """The code that tells most: the given one, or one inside the message where the given one says nothing."""
    code = _BY_NAME.get(error_code.lower(), error_code)
    if error_code.lower() not in VAGUE:
        return code
    inner = [each for each in _KNOWN.findall(said) if each.lower() not in VAGUE] or _KNOWN.findall(said)
    return inner[-1] if inner else code or "Unknown"


def _found(symptoms: Iterable[Symptom], text: str) -> tuple[Symptom, re.Match[str]] | None:
    """The first symptom that ``text`` shows, and the last place that shows it."""
    for symptom in symptoms:
        match = None
        for match in symptom.pattern.finditer(text):  # noqa: B007 - the last one is wanted
            pass
        if match is not None:
            return symptom, match
    return None


def _by_symptom(code: str, symptom: Symptom, match: re.Match[str], shown: str) -> Diagnosis:
    words = {name: value or "an unknown number of" for name, value in match.groupdict().items()}
    source = f"{GUIDE}{symptom.source}" if symptom.source.startswith("#") else symptom.source
    return Diagnosis(
        code=symptom.code if code.lower() in VAGUE or code == "Unknown" else code,
        meaning=one_line(symptom.meaning.format(**words)),
        next_step=one_line(symptom.next_step.format(**words)),
        retryable=symptom.retryable,
        excerpt=shown,
        source=source,
    )


def _by_exception(code: str, exception: tuple[str, str], printed: Sequence[str], shown: str) -> Diagnosis:
    where = "init()" if any(_INIT in line for line in printed) else "the scoring process"
    return Diagnosis(
        code=code,
        meaning=one_line(f"{where} raised {': '.join(part for part in exception if part)}"),
        next_step="Correct the code where the log's last frame points, and run it with `platform: local` first.",
        retryable=False,
        excerpt=shown,
        source=f"{GUIDE}#error-resourcenotready",
    )


def _by_code(code: str, said: str, known: Failure | None, shown: str) -> Diagnosis:
    words = one_line(_GUIDANCE.sub("", said), AZURES_WORDS).rstrip(". ")
    if known is None:
        told = f"a failure that deployer does not know; Azure says: {words}" if words else "no reason was given"
        return Diagnosis(code, told, _FULL_LOG, retryable=False, excerpt=shown)
    meaning = f"{known.meaning}; Azure says: {words}" if words else known.meaning
    source = f"{GUIDE}{known.source}" if known.source.startswith("#") else known.source
    return Diagnosis(code, meaning, known.next_step, known.retryable, shown, source)
