"""A model that one worker loads at once and the other two seconds later."""

import json
import os
import time
from pathlib import Path


def init():
    try:
        (Path(__file__).parent / "first").mkdir()
    except FileExistsError:
        time.sleep(2)


def run(raw_data):
    time.sleep(json.loads(raw_data)["sleep"])
    return {"pid": os.getpid()}
