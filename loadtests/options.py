"""Our options, beside Locust's own. Each can come from a variable: in a container there is often no command line."""

from __future__ import annotations

import math

from locust.argument_parser import LocustArgumentParser
from shapes import HELP

DRAIN_S = 2.0
"""How long requests in flight may go on when the load ends, so that the end is not a burst of hung-up clients."""


def whole(text: str) -> int:
    """Read a whole number from 1.

    Raises:
        ValueError: it is none.
    """
    if (number := int(text)) < 1:
        raise ValueError(f"{number} is below 1")
    return number


def add_arguments(parser: LocustArgumentParser) -> None:
    """Add them."""
    group = parser.add_argument_group("Open model")

    def add(name: str, default: object, text: str, **more: object) -> None:
        variable = f"DEPLOYER_LOAD_{name.upper().replace('-', '_')}"
        group.add_argument(f"--{name}", default=default, env_var=variable, help=text, **more)

    add("rps", 1.0, "requests a second", type=float)
    add("shape", "constant", HELP)
    add("payload", "", "file with the request's body, .jsonl with one a line, or .schema.json to draw them from")
    add("in-flight", 256, "most requests at once, of each process", type=whole)
    add("timeout", 60.0, "longest silence, in seconds", type=float)
    add("lanes", 0, "users that share the rate; default: as many as --users", type=int)
    add(
        "arrivals",
        "poisson",
        "when requests come: at random, evenly, as recorded, or (closed) whenever one of --concurrency is free",
        choices=["poisson", "constant", "replay", "closed"],
    )
    add("replay", "", "file of recorded arrivals")
    add("concurrency", 1, "closed: always in flight", type=whole)
    add("seconds", math.inf, "how long, after the warm-up", type=float)
    add("warm-up", 0.0, "seconds before it, kept apart", type=float)
    add("drain", DRAIN_S, "longest wait for the last answers", type=float)
    add("records", "", "file for every request")
    add("seed", None, "repeats the arrivals", type=int)
    add("deployment", "", "send to this deployment alone (header azureml-model-deployment)")
    group.add_argument("--entra", action="store_true", env_var="DEPLOYER_LOAD_ENTRA", help="a Microsoft Entra token")
    group.add_argument(
        "--in-clear", action="store_true", env_var="DEPLOYER_LOAD_IN_CLEAR", help="the key may go over plain http"
    )
