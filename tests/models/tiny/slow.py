"""A model that takes its time to load."""

import os
import time


def init():
    time.sleep(float(os.environ["INIT_S"]))


def run(raw_data):
    return {}
