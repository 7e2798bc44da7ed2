"""Azure ML's own SDK, used for the one thing only it does: deployment YAML, local files and names into one REST body.

The SDK uploads, registers and resolves as for any user, and is stopped right before the PUT of the deployment: that
request is the result. So the body is the SDK's own by construction, and create and re-create share one way to send it.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import yaml

from deployer.cloud.arm import within
from deployer.cloud.clouds import Cloud, Workspace
from deployer.errors import PlatformError, TransientError
from deployer.manifest.azureml import local_paths
from deployer.platforms.online.azureml_errors import translated
from deployer.platforms.online.azureml_quiet import abandon_uploads, apart, silence, telling

if TYPE_CHECKING:  # azure.core takes 0.3 s to import; only commands that reach Azure pay for it
    from azure.core.credentials import TokenCredential

BASE_S = 600.0
"""For everything but the bytes: tokens, name resolution, up to 15 calls of ARM with their retries, a busy storage."""
UPLOAD_BYTES_PER_S = 500_000.0
"""An upload slower than this (4 Mbit/s) is given up; the SDK alone would wait 4 h for one packet."""
CONNECT_TIMEOUT_S = 10
READ_TIMEOUT_S = 60
RETRIES = 3

_DEPLOYMENT = re.compile(r"/onlineEndpoints/[^/]+/deployments/[^/]+$", re.IGNORECASE)
_ASSET = re.compile(r"/(code|model|environment|data)s?/([^/]+)/versions/([^/]+)$", re.IGNORECASE)
_REGISTRY = re.compile(r"azureml://registries/", re.IGNORECASE)
_KNOWN_TO_SDK = {"AzureCloud", "AzureUSGovernment", "AzureChinaCloud"}

_one_at_a_time = threading.Lock()
"""The SDK keeps in the environment of the process which cloud it talks to."""


class AzureMl:
    """Compiles deployment documents for one workspace.

    Args:
        cloud: where it is.
        workspace: whose assets are resolved, and where local ones are uploaded.
        credential: also used for storage when the workspace's datastore has no keys.
    """

    def __init__(self, cloud: Cloud, workspace: Workspace, credential: TokenCredential) -> None:
        self._cloud = cloud
        self._workspace = workspace
        self._credential = credential
        self._client: Any = None
        self._note: Callable[[str], None] = _ignore

    def compile(
        self,
        document: Mapping[str, Any],
        base_dir: Path,
        *,
        endpoint: str,
        name: str,
        note: Callable[[str], None] | None = None,
    ) -> dict[str, Any]:
        """Upload what is local, resolve what is named, and return the body of the deployment's PUT; do not send it.

        Idempotent: what was uploaded is found again by its content. Blocks for at most ``BASE_S`` and the time of the
        bytes.

        Args:
            document: Azure ML deployment YAML as parsed; ``type: kubernetes`` must be in it where that is meant.
            base_dir: what its relative paths are relative to.
            endpoint: an endpoint that exists.
            name: of the deployment; it is made lower case.
            note: told of uploads and registrations, from another thread.

        Raises:
            DeniedError, NotFoundError, TransientError, PlatformError: nothing was deployed. Assets may have been
                uploaded; they are found again.
        """
        asked = {**document, "name": name.lower(), "endpoint_name": endpoint}
        if isinstance(kind := document.get("type"), str):
            asked["type"] = kind.lower()  # the SDK takes "Kubernetes" for managed
        with _one_at_a_time, apart():
            self._note = note or _ignore
            try:
                return self._compile(asked, base_dir, _bytes_of(asked, base_dir))
            finally:
                self._note = _ignore

    def _compile(self, asked: dict[str, Any], base_dir: Path, size: int) -> dict[str, Any]:
        what, limit_s = f"compiling deployment {asked['name']}", BASE_S + size / UPLOAD_BYTES_PER_S
        try:
            return within(limit_s, lambda: self._stopped_put(asked, base_dir))
        except TimeoutError as exc:
            self._give_up()
            raise TransientError(
                f"{what}: {size / 1e6:.1f} MB could not be uploaded within {limit_s / 60:.0f} min",
                hint="Check the network between here and the workspace's storage account.",
            ) from exc
        except PlatformError:
            raise
        except Exception as exc:  # the SDK raises what it likes
            raise translated(exc, what) from exc
        except BaseException:
            self._give_up()
            raise

    def _give_up(self) -> None:
        self._client = None  # what was left behind still uses it
        abandon_uploads()

    def _stopped_put(self, asked: dict[str, Any], base_dir: Path) -> dict[str, Any]:
        """Let the SDK create the deployment, up to the request that would."""
        from azure.ai.ml import load_online_deployment  # noqa: PLC0415  # pyright: ignore[reportUnknownVariableType]

        silence()
        registered = asked.get("model")
        if isinstance(registered, str) and _REGISTRY.match(registered):
            # It goes into the body as it is. Seeing one, the SDK would look for a template to print a hint, which
            # takes 5 s where the registries cannot be reached.
            asked = {**asked, "model": f"azureml:{self._workspace.id}/models/registered/versions/1"}
        else:
            registered = None
        text = io.StringIO(yaml.safe_dump(asked, allow_unicode=True))
        origin = str(base_dir.absolute() / "deployment.yml")  # only its directory counts
        with telling(self._note):
            try:
                deployment = load_online_deployment(text, relative_origin=origin)
                self._ml_client().online_deployments.begin_create_or_update(deployment)
            except _Stopped as stopped:
                if registered:
                    stopped.body["properties"]["model"] = registered
                return stopped.body
        raise PlatformError(
            f"azure-ai-ml deployed {asked['name']} by itself", hint="Report it with the installed azure-ai-ml version."
        )

    def _ml_client(self) -> Any:
        if self._client is None:
            from azure.ai.ml import MLClient  # noqa: PLC0415

            self._client = MLClient(
                self._credential,
                self._workspace.subscription_id,
                self._workspace.resource_group,
                self._workspace.name,
                enable_telemetry=False,
                per_call_policies=[_policy(self._seen)],
                connection_timeout=CONNECT_TIMEOUT_S,
                read_timeout=READ_TIMEOUT_S,
                retry_total=RETRIES,
                **_cloud_arguments(self._cloud),
            )
        return self._client

    def _seen(self, request: Any) -> None:
        """Look at each request of the SDK before it is sent."""
        if request.method != "PUT":
            return
        path = unquote(urlsplit(str(request.url)).path)
        if _DEPLOYMENT.search(path):
            raise _Stopped(json.loads(request.content))
        if asset := _ASSET.search(path):
            self._note(f"registering {asset[1].lower()} {asset[2]}:{asset[3]}")


class _Stopped(Exception):  # noqa: N818 - not an error: the body was seen
    """The SDK was about to PUT the deployment."""

    def __init__(self, body: dict[str, Any]) -> None:
        super().__init__("stopped before the PUT of the deployment")
        self.body = body


def _policy(seen: Callable[[Any], None]) -> Any:
    """An azure-core policy that shows every request to ``seen`` before it is sent, once, whatever the retries."""
    from azure.core.pipeline.policies import SansIOHTTPPolicy  # noqa: PLC0415

    class Watching(SansIOHTTPPolicy[Any, Any]):
        def on_request(self, request: Any) -> None:
            seen(request.http_request)

    return Watching()


def _cloud_arguments(cloud: Cloud) -> dict[str, Any]:
    """How MLClient is told its cloud; for one that it does not know, without asking its metadata four times."""
    if cloud.name in _KNOWN_TO_SDK:
        return {"cloud": cloud.name}
    described = {
        "azure_portal": cloud.resource_manager,
        "resource_manager": cloud.resource_manager,
        "active_directory": cloud.authority,
        "aml_resource_id": cloud.ml_scope.removesuffix("/.default"),
        "storage_endpoint": cloud.storage_suffix,
        "registry_discovery_endpoint": cloud.resource_manager,
    }
    # The SDK never looks again at a name that it has seen: another description needs another name.
    seen_as = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:12]
    return {"cloud": f"{cloud.name}-{seen_as}", "cloud_metadata": described}


def _bytes_of(document: dict[str, Any], base_dir: Path) -> int:
    """How much may have to be uploaded: all local files, ignored ones too.

    Raises:
        PlatformError: something local is not there.
    """
    size = 0
    for local in local_paths(document):
        path = base_dir / local.written
        if not path.exists():
            raise PlatformError(
                f"{'.'.join(map(str, local.key))}: there is no {local.written}", hint="Restore it, or correct the path."
            )
        files = path.rglob("*") if path.is_dir() else [path]
        size += sum(each.stat().st_size for each in files if each.is_file())
    return size


def _ignore(_text: str) -> None:
    """Tell nobody."""
