"""A profile file to a ``ProfileSpec``, or everything that is wrong with it at once: the same stages as a manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

from deployer.manifest.configuration import RATES, Configuration, canonical, configuration_of
from deployer.manifest.files import FileReader
from deployer.manifest.load import checked, deployment_of, endpoint_of, in_order, open_document, platform_of
from deployer.manifest.problems import Finding, InvalidManifestError, did_you_mean
from deployer.manifest.profile import Profile, ProfileSpec, ResourceCandidate
from deployer.manifest.sources import digest_of

_OWN = ("candidates", "peak_rps")
"""Keys that a profile has and a manifest has not."""


def load_profile(path: Path, *, files: FileReader, env: Mapping[str, str]) -> ProfileSpec:
    """Read, expand and check the profile at ``path`` and all that it refers to. No network, nothing is written.

    Paths are as in a manifest. The template may name another endpoint (``endpoint_name``): the profile's is used.

    Raises:
        InvalidManifestError: with all problems found, each at its file, line and column.
    """
    document, sources, root = open_document(path, files, env)
    profile = checked(Profile, document, sources)
    platform = platform_of(document.content)
    endpoint = endpoint_of(document, sources, platform)
    deployment = deployment_of(document, sources, platform, "deployment", None)
    data = sources.payload(document, ("request",)) if isinstance(document.content.get("request"), str) else b""
    found = configurations(profile, deployment.document) if profile and deployment else ()
    if profile and found:
        sources.report(document, unused_prices(profile, found))
    if sources.problems or profile is None or endpoint is None or deployment is None:
        raise InvalidManifestError(in_order(sources.problems))
    digest = digest_of(
        {
            "profile": profile.model_dump(mode="json", exclude={"endpoint", "deployment", "env", "budget", "prices"}),
            "endpoint": endpoint.document,
            "deployment": deployment.digest,
            "request": hashlib.sha256(data).hexdigest(),
        }
    )
    payload = path.parent / profile.request
    return ProfileSpec(profile, path, root, endpoint, deployment, payload, found, digest)


def is_profile(path: Path, *, files: FileReader) -> bool:
    """Whether the file at ``path`` means to be a profile: it has what only a profile has, and nothing to roll out."""
    try:
        document, _, _ = open_document(path, files, {})
    except InvalidManifestError:
        return False
    return "strategy" not in document.content and any(key in document.content for key in _OWN)


def configurations(profile: Profile, document: Mapping[str, Any]) -> tuple[Configuration, ...]:
    """Every combination of the candidates' values; what they do not name is as ``document`` has it."""
    own = configuration_of(document, profile.platform.type)
    choices = {name: values or (getattr(own, name),) for name, values in profile.candidates.choices().items()}
    choices["resources"] = tuple(
        canonical(each.model_dump(exclude_none=True)) if isinstance(each, ResourceCandidate) else each
        for each in choices["resources"]
    )
    return tuple(Configuration(**dict(zip(choices, each, strict=True))) for each in product(*choices.values()))


def unused_prices(profile: Profile, found: tuple[Configuration, ...]) -> Iterator[Finding]:
    """Prices that nothing asks for: mostly a misspelt instance type."""
    used = {each.instance_type for each in found if each.instance_type} | set(RATES)
    for name in profile.prices:
        if name not in used:
            yield Finding(("prices", name), f"prices: {name} is no candidate's", did_you_mean(name, used), key=True)
