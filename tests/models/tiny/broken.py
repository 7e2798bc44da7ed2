"""A model that cannot be loaded."""


def init():
    raise RuntimeError("weights are torn")


def run(raw_data):
    return raw_data
