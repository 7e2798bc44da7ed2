"""A model that does as the variables of its deployment say."""

import os
import time

LOAD_S = float(os.environ.get("LOAD_S", "0"))
ANSWER_S = float(os.environ.get("ANSWER_S", "0"))
RAISES = os.environ.get("RAISES")


def init():
    time.sleep(LOAD_S)


def run(raw_data):
    time.sleep(ANSWER_S)
    if RAISES:
        raise ArithmeticError(RAISES)
    return {"version": os.environ["VERSION"]}
