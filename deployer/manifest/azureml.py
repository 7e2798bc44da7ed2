"""Endpoint and deployment as their native Azure ML documents describe them, read-only and with Azure's defaults.

The documents have passed ``native``; nothing here checks again. Paths are absolute, relative ones being relative to
the file that holds them, as for ``az ml``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deployer.manifest.document import at
from deployer.manifest.problems import KeyPath

_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+:")


@dataclass(frozen=True, slots=True)
class RequestSettings:
    """How an instance takes requests.

    Source: defaults by learn.microsoft.com, reference-yaml-deployment-managed-online.
    """

    request_timeout_ms: int = 5000
    max_concurrent_requests_per_instance: int = 1


@dataclass(frozen=True, slots=True)
class Probe:
    """How an instance is asked whether it works; times in seconds.

    Source: defaults by learn.microsoft.com, reference-yaml-deployment-managed-online.
    """

    initial_delay: int = 10
    period: int = 10
    timeout: int = 2
    success_threshold: int = 1
    failure_threshold: int = 30

    @property
    def longest_s(self) -> int:
        """Seconds after which an instance that still fails is given up, counted from its start."""
        asked = self.failure_threshold + self.success_threshold - 1
        return self.initial_delay + asked * self.period + self.timeout


@dataclass(frozen=True, slots=True)
class LocalPath:
    """A file or directory that a deployment document names."""

    key: KeyPath
    written: str
    kind: str
    """``file``, ``directory`` or ``any``."""


@dataclass(frozen=True, slots=True)
class EndpointSource:
    """The endpoint that a rollout is for."""

    name: str
    document: Mapping[str, Any]
    path: Path | None = None
    """The file; None: it stands in the manifest."""


@dataclass(frozen=True, slots=True)
class DeploymentSource:
    """A version to deploy."""

    name: str | None
    """None: the rollout chooses (blue or green, whichever is free)."""
    document: Mapping[str, Any]
    base_dir: Path
    """What relative paths in ``document`` are relative to."""
    digest: str
    """Hex SHA-256 of the document without its names, and of the content of every local file that it refers to."""
    path: Path | None = None
    """The file; None: it stands in the manifest."""
    contents: Mapping[str, str] = field(default_factory=dict[str, str])
    """Hex SHA-256 of what each local path holds, by its key, as ``model.path``."""

    @property
    def instance_count(self) -> int:
        """Instances wanted."""
        return self.document.get("instance_count", 1)

    @property
    def instance_type(self) -> str | None:
        """Size of an instance; None on platforms that have one size."""
        return self.document.get("instance_type")

    @property
    def request_settings(self) -> RequestSettings:
        """How an instance takes requests."""
        return RequestSettings(**_known(RequestSettings, self.document.get("request_settings", {})))

    @property
    def readiness_probe(self) -> Probe:
        """When an instance gets requests."""
        return Probe(**_known(Probe, self.document.get("readiness_probe", {})))

    def ready_within_s(self) -> int:
        """Seconds that an instance may take, once its container runs, until its readiness probe must have passed."""
        return self.readiness_probe.longest_s

    @property
    def environment_variables(self) -> dict[str, str]:
        """What the scoring process finds in its environment."""
        return {key: str(value) for key, value in self.document.get("environment_variables", {}).items()}

    @property
    def code_dir(self) -> Path | None:
        """Directory of the scoring code; None without code, or when it is a registered asset."""
        code = self._code.get("code")
        return self.base_dir / code if code is not None and is_local(code) else None

    @property
    def scoring_script(self) -> str | None:
        """The scoring script, relative to the code."""
        return self._code.get("scoring_script")

    @property
    def model_path(self) -> Path | None:
        """The model's file or directory; None without one, or when it is a registered asset."""
        return self.base_dir / self._model if self._model is not None and is_local(self._model) else None

    @property
    def _model(self) -> str | None:
        model = self.document.get("model")
        return model if isinstance(model, str) else at(model, ("path",))

    @property
    def _code(self) -> Mapping[str, str]:
        return self.document.get("code_configuration", {})


def is_local(reference: str) -> bool:
    """Whether ``reference`` is a path on this machine: it has no scheme such as ``azureml:`` or ``https:``."""
    return _SCHEME.match(reference) is None


def local_paths(document: dict[str, Any]) -> Iterator[LocalPath]:
    """All local files and directories that a deployment document names (which may be ill-formed: then fewer)."""
    for key, kind in (
        (("code_configuration", "code"), "directory"),
        (("model", "path"), "any"),
        (("environment", "conda_file"), "file"),
        (("environment", "build", "path"), "directory"),
    ):
        value = at(document, key)
        if isinstance(value, str) and is_local(value):
            yield LocalPath(key, value, kind)


def _known(view: type[RequestSettings | Probe], values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key in view.__dataclass_fields__}
