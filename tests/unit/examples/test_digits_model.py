from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from tests.tools import train_digits

ROOT = Path(__file__).parents[3] / "manifests" / "local"
SAMPLES = (ROOT / "samples" / "digits.jsonl").read_text().splitlines()


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Loads ``score.py`` with a version's artefact and the deployment's variables, as the model server does."""

    def load(version: str, **variables: str) -> ModuleType:
        monkeypatch.setenv("AZUREML_MODEL_DIR", str(ROOT / "digits" / version))
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        spec = importlib.util.spec_from_file_location("score", ROOT / "digits" / "code" / "score.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.init()
        return module

    return load


def stored(version: str) -> dict[str, Any]:
    return json.loads((ROOT / "digits" / version / "weights.json").read_text())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    train_digits.main(folder)
    return folder


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_training_again_gives_the_same_model(trained: Path, version: str) -> None:
    again, kept = json.loads((trained / "digits" / version / "weights.json").read_text()), stored(version)
    assert abs(again["accuracy"] - kept["accuracy"]) <= 0.01
    _, _, images, _ = train_digits.held_out()
    layers = [
        [(np.array(layer["weights"]), np.array(layer["bias"])) for layer in model["layers"]] for model in (again, kept)
    ]
    same = train_digits.predict(layers[0], images) == train_digits.predict(layers[1], images)
    assert same.mean() >= 0.98, "other processors add in another order, which early stopping carries on"


def test_samples_are_the_held_out_images(trained: Path) -> None:
    for name in ("digit.json", "digits.jsonl"):
        assert (trained / "samples" / name).read_bytes() == (ROOT / "samples" / name).read_bytes()


@pytest.mark.parametrize(("version", "percent"), [("v1", 93.2), ("v2", 97.1)])
def test_the_stated_accuracy_is_that_of_the_deployed_code_on_images_it_never_saw(
    release: Any, version: str, percent: float
) -> None:
    score = release(version)
    _, _, images, labels = train_digits.held_out()
    answer = score.run(json.dumps({"data": images.tolist()}))
    accuracy = (np.array(answer["predictions"]) == labels).mean()
    assert accuracy == pytest.approx(stored(version)["accuracy"], abs=5e-5)
    assert f"{accuracy:.1%}" == f"{percent}%"
    assert f"{percent} % of unseen digits right" in (ROOT / f"deployment-{version}.yml").read_text()


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_artefacts_are_small_and_data_only(version: str) -> None:
    files = [file for file in (ROOT / "digits" / version).rglob("*") if file.is_file()]
    assert [file.name for file in files] == ["weights.json"]
    assert files[0].stat().st_size < 300_000


def test_an_answer_matches_the_schema_of_the_smoke_test(release: Any) -> None:
    schema = json.loads((ROOT / "samples" / "digit.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    answer = release("v2").run((ROOT / "samples" / "digit.json").read_text())
    Draft202012Validator(schema).validate(answer)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("", "the body is not JSON"),
        ("{", "the body is not JSON"),
        ("[" * 100_000, "the body is not JSON"),
        ("[]", 'the body is not {"data": [image, ...]}'),
        ("{}", 'the body is not {"data": [image, ...]}'),
        ('{"data": []}', "with 1 to 1000 images"),
        ('{"data": [[1, 2]]}', "data[0] is not a list of 64 numbers"),
        (json.dumps({"data": [[0] * 64, ["0"] * 64]}), "data[1] is not a list of 64 numbers"),
        (json.dumps({"data": [[True] * 64]}), "data[0] is not a list of 64 numbers"),
        (json.dumps({"data": [[17] * 64]}), "data[0] has pixels outside 0 to 16"),
        ('{"data": [[' + "NaN, " * 63 + "NaN]]}", "data[0] has pixels outside 0 to 16"),
        (json.dumps({"data": [[0] * 64] * 1001}), "with 1 to 1000 images"),
    ],
)
def test_a_bad_request_is_the_callers_fault_and_says_what_to_change(release: Any, body: str, said: str) -> None:
    answer = release("v1").run(body)
    assert answer.status_code == 400
    assert answer.headers["x-ms-run-function-failed"] == "False"
    assert said in answer.get_json()["message"]


def test_the_broken_release_raises_for_the_same_five_percent_of_images_each_time(release: Any) -> None:
    score = release("v2", DIGITS_FAIL_SHARE="0.05")

    def fails(body: str) -> bool:
        try:
            score.run(body)
        except ArithmeticError:
            return True
        return False

    first = [fails(body) for body in SAMPLES]
    assert (sum(first), len(first)) == (45, 899), "deployment-broken.yml states this"
    assert first == [fails(body) for body in SAMPLES]
    assert not fails((ROOT / "samples" / "digit.json").read_text()), "its smoke test passes, as of many a bad release"


def test_good_releases_raise_for_no_image(release: Any) -> None:
    for version in ("v1", "v2"):
        score = release(version)
        assert all("predictions" in score.run(body) for body in SAMPLES)


def test_a_release_without_its_weights_fails_in_init_and_names_them(release: Any) -> None:
    with pytest.raises(FileNotFoundError, match=r"expected one weights-v3\.json below .*, found 0"):
        release("v2", DIGITS_WEIGHTS="weights-v3.json")


def test_init_twice_is_init_once(release: Any) -> None:
    score = release("v2")
    score.init()
    assert len(score.layers) == 2
