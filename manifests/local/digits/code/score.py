"""Tell which digit an image of 8 x 8 pixels shows: Azure ML's contract, ``init()`` once and ``run()`` per request.

Request: ``{"data": [[64 numbers from 0 to 16], ...]}``; answer: ``{"predictions": [digit, ...]}``. What is not such a
request is the caller's fault and answered with 400; raising would be reported as the model's.

The variables DIGITS_* turn a good release into a bad one, for the examples slow.yaml, broken.yaml and crash.yaml.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from zlib import crc32

import numpy as np
from azureml_inference_server_http.api.aml_response import AMLResponse

PIXELS = 64
MOST_IMAGES = 1000

layers: list[tuple[np.ndarray, np.ndarray]] = []


def init() -> None:
    """Load the weights: plain JSON, so that loading runs no code from the artefact."""
    folder = Path(os.environ["AZUREML_MODEL_DIR"])
    name = os.environ.get("DIGITS_WEIGHTS", "weights.json")
    found = sorted(folder.rglob(name))
    if len(found) != 1:
        raise FileNotFoundError(f"expected one {name} below {folder}, found {len(found)}")
    stored = json.loads(found[0].read_text())["layers"]
    layers[:] = [(np.array(layer["weights"]), np.array(layer["bias"])) for layer in stored]


def run(raw_data: str) -> dict | AMLResponse:
    """Answer one request."""
    try:
        images = read(raw_data)
    except ValueError as exc:
        return AMLResponse({"message": str(exc)}, 400, json_str=True)
    misbehave(images)
    values = images / 16
    for weights, bias in layers[:-1]:
        values = np.maximum(values @ weights + bias, 0)
    weights, bias = layers[-1]
    return {"predictions": (values @ weights + bias).argmax(axis=1).tolist()}


def read(raw_data: str) -> np.ndarray:
    """Return the images of a request (n x 64), or raise a ValueError that tells its sender what to change."""
    try:
        request = json.loads(raw_data)
    except (ValueError, RecursionError):
        raise ValueError("the body is not JSON") from None
    rows = request.get("data") if isinstance(request, dict) else None
    if not isinstance(rows, list) or not 1 <= len(rows) <= MOST_IMAGES:
        raise ValueError(f'the body is not {{"data": [image, ...]}} with 1 to {MOST_IMAGES} images')
    for number, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != PIXELS or not all(type(pixel) in (int, float) for pixel in row):
            raise ValueError(f"data[{number}] is not a list of {PIXELS} numbers")
        if not all(0 <= pixel <= 16 for pixel in row):
            raise ValueError(f"data[{number}] has pixels outside 0 to 16")
    return np.array(rows, dtype=float)


def misbehave(images: np.ndarray) -> None:
    """Be slow, or raise for a fixed share of all possible images: the same ones each time, as a real defect does."""
    time.sleep(float(os.environ.get("DIGITS_DELAY_MS", "0")) / 1000)  # noqa: TID251 - it is a slow model's work
    if crc32(images.tobytes()) < float(os.environ.get("DIGITS_FAIL_SHARE", "0")) * 2**32:
        raise ArithmeticError("this image is one of those that the release cannot handle")
