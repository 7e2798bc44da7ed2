"""A manifest file to a ``RolloutSpec``, or everything that is wrong with it at once.

Order: YAML text, ``${NAME}`` in the manifest itself (native files are taken literally, as ``az ml`` takes them), the
models, the native documents, the files they name. A later stage goes on with what an earlier one could make out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from deployer.manifest.azureml import DeploymentSource, EndpointSource
from deployer.manifest.document import Document, at
from deployer.manifest.expansion import expand
from deployer.manifest.files import FileReader, project_root
from deployer.manifest.notify import plain_secrets
from deployer.manifest.problems import Finding, InvalidManifestError, KeyPath, Problem, shown
from deployer.manifest.schema import Manifest, PlatformType
from deployer.manifest.sources import Sources, digest_of, plain
from deployer.manifest.spec import RolloutSpec
from deployer.manifest.validation import AnyModel, check

__all__ = ["InvalidManifestError", "RolloutSpec", "load_manifest"]

_EACH = "*"
_PAYLOADS = (("smoke", _EACH, "request"), ("warmup", "request"), ("load", "request"))
_SCHEMAS = (("smoke", _EACH, "expect", "json_schema"),)


def load_manifest(path: Path, *, files: FileReader, env: Mapping[str, str]) -> RolloutSpec:
    """Read, expand and check the manifest at ``path`` and all that it refers to. No network, nothing is written.

    Paths in the manifest are relative to it, and stay below its directory with all links followed. Paths in native
    Azure ML documents are relative to the file that holds them (for inline ones: the manifest) and stay below the
    project's root: the nearest directory above the manifest that contains ``.git``, else the manifest's own.

    Args:
        path: the manifest; a symbolic link is followed first.
        files: the disk.
        env: environment variables; read are only those that the manifest lists under ``env``.

    Raises:
        InvalidManifestError: with all problems found, each at its file, line and column.
    """
    document, sources, root = open_document(path, files, env)
    content = document.content
    manifest = checked(Manifest, document, sources)
    sources.report(document, plain_secrets(content))
    platform = platform_of(content)
    endpoint = endpoint_of(document, sources, platform)
    deployment, baseline = (
        deployment_of(document, sources, platform, key, endpoint) for key in ("deployment", "baseline")
    )
    if deployment and baseline and deployment.name and deployment.name == baseline.name:
        same = Finding(("baseline",), "baseline and deployment have the same name", "rename one of them")
        sources.report(document, [same])
    payloads = {text: sources.payload(document, key) for text, key in _named(content, _PAYLOADS).items()}
    schemas = {text: sources.schema(document, key) for text, key in _named(content, _SCHEMAS).items()}
    if sources.problems or manifest is None or endpoint is None or deployment is None:
        raise InvalidManifestError(in_order(sources.problems))
    digest = _digest(manifest, endpoint, deployment, baseline, payloads, schemas)
    return RolloutSpec(manifest, path, root, endpoint, deployment, baseline, payloads, schemas, digest)


def open_document(path: Path, files: FileReader, env: Mapping[str, str]) -> tuple[Document, Sources, Path]:
    """Read and expand a file of ours; give also what reads the files that it names, and the project's root.

    Raises:
        InvalidManifestError: it is not there, or no YAML.
    """
    real = files.real(path)
    if real is None:
        raise InvalidManifestError([Problem(str(path), 1, 1, "the manifest does not exist", "correct the path")])
    root = project_root(files, real.parent)
    sources = Sources(files, home=real.parent, root=root, shown_home=path.parent)
    written = sources.document(real, str(path))
    if written is None:
        raise InvalidManifestError(sources.problems)
    content, unexpanded = expand(written.content, env)
    document = replace(written, content=content)
    sources.report(document, unexpanded)
    return document, sources, root


def checked(model: type[AnyModel], document: Document, sources: Sources) -> AnyModel | None:
    """Validate ``document``; None when it is wrong, which ``sources`` then knows."""
    found, findings = check(model, plain(document.content))
    if findings:  # once more with what was written, so that messages do not show the values of environment variables
        _, findings = check(model, document.content)
    sources.report(document, findings)
    return found


def platform_of(content: dict[str, Any]) -> PlatformType | None:
    """The platform, even of a manifest that is wrong elsewhere."""
    word = at(content, ("platform", "type")) or content.get("platform")
    return PlatformType(word) if word in list(PlatformType) else None


def endpoint_of(document: Document, sources: Sources, platform: PlatformType | None) -> EndpointSource | None:
    """The endpoint that ``document`` holds or names; None when nothing could be made of it."""
    part = sources.part(document, "endpoint")
    if part is None:
        return None
    endpoint = sources.endpoint(part, platform)
    wanted, given = at(document.content, ("platform", "compute")), part.content.get("compute")
    if wanted and isinstance(given, str) and given.removeprefix("azureml:") != wanted:
        message = f"compute: {shown(given)} is not the platform's compute {shown(wanted)}"
        finding = Finding(("compute",), message, "make them equal, or remove this one")
        sources.report(part.document, [finding], part.below)
    return endpoint


def deployment_of(
    document: Document, sources: Sources, platform: PlatformType | None, key: str, endpoint: EndpointSource | None
) -> DeploymentSource | None:
    """The deployment under ``key`` of ``document``; None when there is none, or nothing could be made of it."""
    part = sources.part(document, key)
    if part is None:
        return None
    deployment = sources.deployment(part, platform)
    given = part.content.get("endpoint_name")
    if endpoint is not None and endpoint.name and given is not None and given != endpoint.name:
        message = f"endpoint_name: {shown(given)} is not the name of this rollout's endpoint"
        finding = Finding(("endpoint_name",), message, "make them equal, or remove the key")
        sources.report(part.document, [finding], part.below)
    return deployment


def _named(content: dict[str, Any], patterns: tuple[KeyPath, ...]) -> dict[str, KeyPath]:
    """Each file that the manifest names, and where first; ill-formed places are left out (the models report them)."""
    places = [path for pattern in patterns for path in _matching(content, pattern, ())]
    return {str(at(content, path)): path for path in reversed(places) if isinstance(at(content, path), str)}


def _matching(content: dict[str, Any], pattern: KeyPath, path: KeyPath) -> Iterator[KeyPath]:
    if not pattern:
        yield path
    elif pattern[0] != _EACH:
        yield from _matching(content, pattern[1:], (*path, pattern[0]))
    elif isinstance(items := at(content, path), list):
        for index in range(len(cast("list[Any]", items))):
            yield from _matching(content, pattern[1:], (*path, index))


def in_order(problems: list[Problem]) -> list[Problem]:
    """Each once; by file in the order of reading, then by place."""
    files = list(dict.fromkeys(problem.file for problem in problems))
    return sorted(
        dict.fromkeys(problems), key=lambda problem: (files.index(problem.file), problem.line, problem.column)
    )


def _digest(
    manifest: Manifest,
    endpoint: EndpointSource,
    deployment: DeploymentSource,
    baseline: DeploymentSource | None,
    payloads: Mapping[str, bytes],
    schemas: Mapping[str, dict[str, Any]],
) -> str:
    apart = {"endpoint", "deployment", "baseline", "env", "notify"}
    return digest_of(
        {
            "manifest": manifest.model_dump(mode="json", by_alias=True, exclude=apart),
            "endpoint": endpoint.document,
            "deployment": [deployment.name, deployment.digest],
            "baseline": [baseline.name, baseline.digest] if baseline else None,
            "payloads": {text: hashlib.sha256(data).hexdigest() for text, data in payloads.items()},
            "schemas": schemas,
        }
    )
