"""From the documents that a manifest holds or names to endpoint and deployment, with every problem on the way."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from deployer.manifest.azureml import DeploymentSource, EndpointSource, LocalPath, local_paths
from deployer.manifest.document import Document, at
from deployer.manifest.files import FileReader, fingerprint, locate, read
from deployer.manifest.native import check_deployment, check_endpoint
from deployer.manifest.payloads import MAX_PAYLOAD_BYTES, check_json, check_lines, check_schema
from deployer.manifest.problems import MAX_PROBLEMS, FieldError, Finding, KeyPath, Problem, dotted, shown
from deployer.manifest.schema import PlatformType
from deployer.manifest.text import MAX_BYTES, read_yaml

_SCRIPT = ("code_configuration", "scoring_script")
_MANY = ("load", "request")
"""Keys of a manifest and of a profile whose file may hold many requests."""


@dataclass(frozen=True, slots=True)
class Part:
    """A document, or the part of one that stands inside a manifest, and the directory its paths are relative to."""

    document: Document
    below: KeyPath
    content: dict[str, Any]
    base_dir: Path
    path: Path | None


class Sources:
    """Reads what a manifest refers to; ``problems`` gathers all that is wrong, in the order of reading.

    Paths in the manifest stay below its directory (``home``), paths in native Azure ML files below ``root``.
    """

    def __init__(self, files: FileReader, *, home: Path, root: Path, shown_home: Path) -> None:
        self._files = files
        self._home = home
        self._root = root
        self._shown_home = shown_home
        self.problems: list[Problem] = []

    def report(self, document: Document, findings: Iterable[Finding], below: KeyPath = ()) -> None:
        """Add ``findings``, unless something is known to be wrong at the very same place already."""
        known = {(problem.file, problem.line, problem.column) for problem in self.problems}
        problems = [document.problem(finding, below) for finding in findings]
        self.problems += [each for each in problems if (each.file, each.line, each.column) not in known]

    def document(self, path: Path, name: str) -> Document | None:
        """Read the YAML file at the real ``path``; None when nothing could be made of it."""
        try:
            data = read(self._files, path, MAX_BYTES)
        except FieldError as exc:
            self.problems.append(Problem(name, 1, 1, str(exc), exc.hint))
            return None
        document, problems = read_yaml(data, name)
        self.problems += problems
        return document

    def part(self, manifest: Document, key: str) -> Part | None:
        """The document that ``key`` of the manifest holds or names; None when there is none."""
        value = manifest.content.get(key)
        if isinstance(value, dict):
            return Part(manifest, (key,), cast("dict[str, Any]", value), self._home, None)
        if not isinstance(value, str):
            return None
        with self._reporting(manifest, (key,)):
            found = locate(self._files, self._home, value, self._home)
            document = self.document(found, str(self._shown_home / value))
            return None if document is None else Part(document, (), document.content, found.parent, found)
        return None

    def endpoint(self, part: Part, platform: PlatformType | None) -> EndpointSource:
        """The endpoint that ``part`` describes; only sound when no problem was found."""
        self.report(part.document, check_endpoint(part.content, platform)[:MAX_PROBLEMS], part.below)
        document = plain(part.content)
        name = document.get("name")
        return EndpointSource(name if isinstance(name, str) else "", document, part.path)

    def deployment(self, part: Part, platform: PlatformType | None) -> DeploymentSource:
        """The deployment that ``part`` describes; only sound when no problem was found."""
        self.report(part.document, check_deployment(part.content, platform)[:MAX_PROBLEMS], part.below)
        document = plain(part.content)
        contents: dict[str, str] = {}
        for local in local_paths(part.content):
            with self._reporting(part.document, local.key, part.below):
                found = self._find(part, local)
                contents[dotted(local.key)] = fingerprint(self._files, found, self._root)
        identity = {key: value for key, value in document.items() if key not in ("name", "endpoint_name", "$schema")}
        digest = digest_of({"document": identity, "contents": contents})
        return DeploymentSource(document.get("name"), document, part.base_dir, digest, part.path, contents)

    def payload(self, manifest: Document, key: KeyPath) -> bytes:
        """The JSON file that ``key`` of the manifest names, for ``load`` also one with a JSON value a line (.jsonl)."""
        written: str = at(manifest.content, key)
        with self._reporting(manifest, key):
            data = read(self._files, locate(self._files, self._home, written, self._home), MAX_PAYLOAD_BYTES)
            name = str(self._shown_home / written)
            if not written.endswith(".jsonl"):
                _, problem = check_json(data, name)
            elif key[0] in _MANY:
                problem = check_lines(data, name)
            else:
                raise FieldError(f"{shown(written)} holds many requests, and one is sent", hint="name a .json file")
            self.problems += [problem] if problem else []
            return data
        return b""

    def schema(self, manifest: Document, key: KeyPath) -> dict[str, Any]:
        """The JSON schema that ``key`` of the manifest names; only sound when no problem was found."""
        written: str = at(manifest.content, key)
        with self._reporting(manifest, key):
            data = read(self._files, locate(self._files, self._home, written, self._home), MAX_PAYLOAD_BYTES)
            schema, problem = check_schema(data, str(self._shown_home / written))
            self.problems += [problem] if problem else []
            return schema
        return {}

    def _find(self, part: Part, local: LocalPath) -> Path:
        found = locate(self._files, part.base_dir, local.written, self._root)
        if local.kind == "directory" and not self._files.is_dir(found):
            raise FieldError(f"{shown(local.written)} is not a directory")
        if local.kind == "file" and not self._files.is_file(found):
            raise FieldError(f"{shown(local.written)} is not a file")
        script = at(part.content, _SCRIPT)
        if local.key[-1] == "code" and isinstance(script, str):
            with self._reporting(part.document, _SCRIPT, part.below):
                if not self._files.is_file(locate(self._files, found, script, found)):
                    raise FieldError(f"{shown(script)} is not a file")
        return found

    @contextmanager
    def _reporting(self, document: Document, key: KeyPath, below: KeyPath = ()) -> Generator[None]:
        """Turn a refusal of the value at ``key`` into a problem, and go on."""
        try:
            yield
        except FieldError as exc:
            self.report(document, [Finding(key, f"{dotted(key)}: {exc}", exc.hint)], below)


def plain(content: dict[str, Any]) -> dict[str, Any]:
    """A copy of plain data that holds nothing but the types of JSON."""
    return json.loads(json.dumps(content))


def digest_of(content: dict[str, Any]) -> str:
    """Hex SHA-256 of plain data in canonical form: keys sorted, no blanks."""
    canonical = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
