"""``notify:`` of a manifest: what may be written, and that no secret stands in the file or in a message."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployer.manifest.load import load_manifest
from deployer.manifest.notify import Occasion
from deployer.manifest.problems import InvalidManifestError
from deployer.manifest.spec import RolloutSpec
from deployer.stores.files import DiskFiles

ROOT = Path(__file__).parents[3] / "manifests" / "local"
URL = "https://hooks.example/services/" + "planted" + "-path"
SECRET = "planted" + "-secret-of-32-characters"


def read(folder: Path, notify: str, **env: str) -> RolloutSpec:
    text = (ROOT / "quickstart.yaml").read_text()
    for name in ("endpoint.yml", "deployment-v2.yml", "deployment-v1.yml"):
        text = text.replace(f" {name}", f" {ROOT.name}/{name}")
    text = text.replace("samples/", f"{ROOT.name}/samples/")
    if not (folder / ROOT.name).exists():
        (folder / ".git").mkdir(exist_ok=True)
        copy(ROOT, folder / ROOT.name)
    path = folder / "m.yaml"
    path.write_text(f"{text}\nenv: [HOOK, SECRET]\nnotify:\n{notify}\n")
    return load_manifest(path, files=DiskFiles(), env=env)


def copy(source: Path, target: Path) -> None:
    for path in source.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            (target / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
            (target / path.relative_to(source)).write_bytes(path.read_bytes())


def refusals(folder: Path, notify: str, **env: str) -> list[str]:
    with pytest.raises(InvalidManifestError) as caught:
        read(folder, notify, **env)
    assert "planted" not in str(caught.value)
    return [f"{problem.message} ({problem.hint})" for problem in caught.value.problems]


def test_a_webhook_has_the_occasions_that_page_somebody_unless_it_asks(tmp_path: Path) -> None:
    spec = read(tmp_path, '  - {webhook: "${HOOK}", format: slack}', HOOK=URL, SECRET="")
    (hook,) = spec.manifest.notify
    assert hook.events == (Occasion.PAUSED, Occasion.PROMOTED, Occasion.ROLLED_BACK, Occasion.STUCK)
    assert "planted" not in repr(spec.manifest)


def test_who_is_told_does_not_make_another_rollout(tmp_path: Path) -> None:
    one = read(tmp_path, '  - {webhook: "${HOOK}", format: slack}', HOOK=URL, SECRET="")
    other = read(tmp_path, '  - {webhook: "${HOOK}", format: teams}', HOOK=f"{URL}2", SECRET="")
    assert one.digest == other.digest


def test_an_empty_address_turns_a_webhook_off(tmp_path: Path) -> None:
    spec = read(tmp_path, '  - {webhook: "${HOOK:-}", format: generic}')
    assert not spec.manifest.notify[0].is_on


@pytest.mark.parametrize(
    ("notify", "env", "refusal"),
    [
        (f"  - {{webhook: '{URL[:23]}', format: slack}}", {}, "notify[0].webhook stands in the file: it is a secret"),
        ('  - {webhook: "${HOOK:-https://x.example}", format: slack}', {}, "notify[0].webhook stands in the file"),
        ('  - {webhook: "https://x.example/${HOOK}", format: slack}', {"HOOK": "a"}, "notify[0].webhook stands in"),
        (
            '  - {webhook: "${HOOK}", format: slack}',
            {"HOOK": "http://x.example"},
            "notify[0]: webhook is not encrypted",
        ),
        ('  - {webhook: "${HOOK}", format: slack}', {"HOOK": "ftp://x"}, "notify[0]: webhook is no https address"),
        ('  - {webhook: "${HOOK}", format: slack}', {"HOOK": "planted"}, "notify[0]: webhook is no https address"),
        ('  - {webhook: "${HOOK}", format: slack}', {"HOOK": "https://[x"}, "notify[0]: webhook is no https address"),
        (
            '  - {webhook: "${HOOK}", format: slack}',
            {"HOOK": "https://u:p@x.example"},
            "notify[0]: webhook holds a user",
        ),
        ('  - {webhook: "${HOOK}", format: slack}', {}, "notify[0].webhook: the environment variable HOOK is not set"),
        ('  - {webhook: "${HOOK}", format: generic}', {"HOOK": URL}, "notify[0]: format generic is signed: secret"),
        (
            '  - {webhook: "${HOOK}", format: generic, secret: "${SECRET}"}',
            {"HOOK": URL, "SECRET": "planted"},
            "notify[0]: the secret is shorter than 16 bytes",
        ),
        (
            '  - {webhook: "${HOOK}", format: generic, secret: "${SECRET}"}',
            {"HOOK": URL, "SECRET": "whsec_" + "planted no base64 at all"},
            "notify[0]: the secret is shorter than 16 bytes",
        ),
        (
            '  - {webhook: "${HOOK}", format: slack, secret: "${SECRET}"}',
            {"HOOK": URL, "SECRET": SECRET},
            "notify[0]: format slack cannot be signed",
        ),
        (
            '  - {webhook: "${HOOK}", format: slak}',
            {"HOOK": URL},
            "notify[0].format: 'slak' is not one of slack, teams",
        ),
        (
            '  - {webhook: "${HOOK}", format: slack, events: [stukc]}',
            {"HOOK": URL},
            "notify[0].events[0]: 'stukc' is not one of started",
        ),
        ('  - {webhook: "${HOOK}", format: slack, event: [stuck]}', {"HOOK": URL}, "unknown key notify[0].event"),
        ("  - {webhook: 5, format: slack}", {}, "notify[0].webhook: 5 is not text"),
        ("  - {format: slack}", {}, "notify[0].webhook is missing"),
        ("  - 5", {}, "notify[0]: 5 is not a mapping"),
        ("  5", {}, "notify: 5 is not a list"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(
    tmp_path: Path, notify: str, env: dict[str, str], refusal: str
) -> None:
    said = refusals(tmp_path, notify, **env)
    assert any(each.startswith(refusal) for each in said), said
