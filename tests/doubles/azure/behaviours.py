"""How models behave: how long they take to start, whether they ever do, and what they answer."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

STAGES = (("image", 0.4), ("pull", 0.6), ("model", 0.8), ("server", 1.0))
"""What a deployment does while it is made, and up to which part of its time."""
PREFIX = "DOUBLE_"


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Of one model.

    Attributes:
        error_rate: part of the requests in which the model fails.
        latency_ms: median of the model's time.
        sigma: of the logarithm of that time.
        fails_with: code of the error with which its deployment fails.
        never_ready: its deployment stays in Creating.
        deploy_s: how long its deployment takes, instead of the usual.
        status: of a model error.
        log: what its container prints besides.
        server: answered as x-ms-server-version; empty: a custom container.
    """

    error_rate: float = 0.0
    latency_ms: float = 2.0
    sigma: float = 0.0
    fails_with: str = ""
    never_ready: bool = False
    deploy_s: float | None = None
    status: int = 500
    log: str = ""
    server: str = "azmlinfsrv/1.5.1"

    def model_ms(self, chance: random.Random) -> float:
        return self.latency_ms * (chance.lognormvariate(0.0, self.sigma) if self.sigma else 1.0)


def read(environment: Mapping[str, str]) -> dict[str, Any]:
    """What ``DOUBLE_FAILS_WITH``, ``DOUBLE_ERROR_RATE`` and so on of a deployment's environment say."""
    found: dict[str, Any] = {}
    for each in fields(Behaviour):
        text = environment.get(PREFIX + each.name.upper())
        if text is None:
            continue
        number = each.name in {"error_rate", "latency_ms", "sigma", "deploy_s"}
        found[each.name] = float(text) if number else int(text) if each.name == "status" else text
    if "never_ready" in found:
        found["never_ready"] = found["never_ready"].lower() not in {"", "0", "false", "no"}
    return found


@dataclass(frozen=True, slots=True)
class Failure:
    """How the service tells that a deployment failed, in which stage, and what its container printed."""

    stage: str
    message: str
    log: str = ""


def failure_of(code: str) -> Failure:
    """Of an error code. Codes and causes: docs how-to-troubleshoot-online-endpoints; most wordings are invented."""
    return _FAILURES.get(code, Failure("pull", f"The deployment failed: {code}."))


_TRACEBACK = 'Traceback (most recent call last):\n  File "/var/azureml-app/onlinescoring/score.py", line {line}, in {where}\n    {code}\n'
_FAILURES = {
    "ImageBuildFailure": Failure(
        "image",
        "Failed to build the environment image. Please see the build log in the workspace's storage account for details.",
    ),
    "OutOfQuota": Failure(
        "image", "Not enough quota: the requested number of cores exceeds the quota of the subscription in this region."
    ),
    "BadArgument": Failure("image", "The request contains an invalid argument."),
    "ResourceNotFound": Failure("image", "A resource that the deployment refers to was not found."),
    "ResourceNotReady": Failure(
        "server",
        "User container has crashed or terminated. Please see troubleshooting guide, available here: "
        "https://aka.ms/oe-tsg#error-resourcenotready",
        _TRACEBACK.format(line=12, where="init", code="model = joblib.load(path)")
        + "FileNotFoundError: [Errno 2] No such file or directory: 'model.pkl'\n",
    ),
    "UserScriptImportError": Failure(
        "server",
        "The scoring script imports a package that is not in the environment.",
        _TRACEBACK.format(line=1, where="<module>", code="import pandas")
        + "ModuleNotFoundError: No module named 'pandas'\n",
    ),
    "UserScriptInitFailed": Failure(
        "server",
        "init() of the scoring script raised an exception.",
        _TRACEBACK.format(line=8, where="init", code="raise ValueError('bad weights')") + "ValueError: bad weights\n",
    ),
    "DeploymentCrashLoopBackOff": Failure("server", "The user container is in CrashLoopBackOff.", "Killed\n"),
    "InternalServerError": Failure("image", "An internal server error occurred. Please try again."),
    "SecretsInjectionError": Failure("image", "Secrets could not be read with the identity of the endpoint."),
}
