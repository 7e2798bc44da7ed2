"""Codes, models, environments and the blobs behind them, as far as azure-ai-ml uploads them (WIRE 2)."""

from __future__ import annotations

import base64
import copy
import hashlib
from dataclasses import dataclass, field
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from doubles.azure.identity import DOMAIN
from doubles.azure.messages import Answer, Handler, Refusal, Request, missing
from doubles.azure.world import GROUP, PRINCIPAL, REGION, SUBSCRIPTION, TENANT, WORKSPACE, WORKSPACE_ID, World, stamp

CONTAINER = "azureml-blobstore"
SAS = "sv=2024-11-04&sr=c&sig=c2lnbmF0dXJl&se=2100-01-01T00%3A00%3A00Z&sp=rcwl"
PUBLIC = r"models/(?P<name>[^/]+)/versions/(?P<version>[^/]+)"
KINDS = ("codes", "models", "environments", "data", "components")


@dataclass
class Blob:
    content: bytes
    metadata: dict[str, str] = field(default_factory=dict)
    blocks: dict[str, bytes] = field(default_factory=dict)

    @property
    def md5(self) -> str:
        return base64.b64encode(hashlib.md5(self.content, usedforsecurity=False).digest()).decode()


class Assets:
    """Versions by (kind, name, version); blobs by (container, name); models of registries by (registry, name, version)."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.versions: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.public: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.blobs: dict[tuple[str, str], Blob] = {}

    def routes(self) -> list[tuple[str, str, Handler]]:
        some = rf".+/workspaces/[^/]+/(?P<kind>{'|'.join(KINDS)})/(?P<name>[^/]+)"
        one = rf"{some}/versions/(?P<version>[^/]+)"
        store = r".+/workspaces/[^/]+/datastores"
        return [
            ("GET", some, self.container),
            ("GET", rf"{some}/versions", self.list),
            ("GET", one, self.get),
            ("PUT", one, self.put),
            ("POST", rf"{one}/startPendingUpload", self.start_upload),
            ("GET", rf"{store}(/[^/]+)?", self.datastore),
            ("POST", rf"{store}/[^/]+/listSecrets", self.secrets),
            ("GET", r"/registrymanagement/v1\.0/registries/(?P<name>[^/]+)/discovery", self.discover),
            ("GET", rf"/mferp/managementfrontend/.+/registries/(?P<registry>[^/]+)/{PUBLIC}", self.get_public),
        ]

    def blob_routes(self) -> list[tuple[str, str, Handler]]:
        """Of storage: a signature instead of a token."""
        blob = r"/(?P<container>azureml-blobstore|code-[^/]+)/(?P<blob>.+)"
        return [
            ("HEAD", blob, self.head),
            ("GET", blob, self.download),
            ("GET", r"/(?P<container>azureml-blobstore|code-[^/]+)", self.list_blobs),
            ("PUT", blob, self.upload),
        ]

    def exists(self, asset_id: str) -> bool:
        """Whether an id of this workspace is registered; of others nothing is known."""
        if WORKSPACE_ID.lower() not in asset_id.lower():
            return True
        kind, name, _, version = asset_id.rstrip("/").split("/")[-4:]
        return (kind.lower(), name.lower(), version) in self.versions

    # ---- versions

    def register(self, kind: str, name: str, version: str, properties: dict[str, Any] | None = None) -> dict[str, Any]:
        """Let a version exist."""
        now = stamp(self.world.now())
        document = {
            "id": f"{WORKSPACE_ID}/{kind}/{name}/versions/{version}",
            "name": version,
            "type": f"Microsoft.MachineLearningServices/workspaces/{kind}/versions",
            "properties": {
                "description": None,
                "tags": {},
                "properties": {},
                "isArchived": False,
                "isAnonymous": False,
                "provisioningState": "Succeeded",
                # azure-ai-ml 1.35.2 model.py:158 cannot read a model without it, so the service sends it
                **({"flavors": {}} if kind.lower() == "models" else {}),
                **(properties or {}),
            },
            "systemData": {"createdAt": now, "createdBy": PRINCIPAL, "createdByType": "User", "lastModifiedAt": now},
        }
        self.versions[kind.lower(), name.lower(), version] = document
        return document

    def container(self, request: Request) -> Answer:
        kind, name = request.params["kind"].lower(), request.params["name"]
        there = [version for (each, known, version) in self.versions if (each, known) == (kind, name.lower())]
        if not there:
            raise missing("Microsoft.MachineLearningServices/workspaces", f"{WORKSPACE}/{kind}/{name}", GROUP)
        number = max((int(version) for version in there if version.isdigit()), default=0)
        held = {
            "latestVersion": there[-1],
            "nextVersion": str(number + 1),
            "isArchived": False,
            "properties": {},
            "tags": {},
        }
        return Answer(200, {"id": request.path, "name": name, "type": "container", "properties": held})

    def list(self, request: Request) -> Answer:
        """``hash=`` finds code by its content (WIRE 2)."""
        wanted, name = request.query.get("hash"), request.params["name"].lower()
        kind = request.params["kind"].lower()
        found = [
            document
            for (each, known, _), document in reversed(self.versions.items())
            if each == kind
            and (known == name or wanted)
            and (not wanted or document["properties"]["properties"].get("hash_sha256") == wanted)
        ]
        return Answer(200, {"value": copy.deepcopy(found)})

    def get(self, request: Request) -> Answer:
        kind, name, version = (request.params[key] for key in ("kind", "name", "version"))
        found = self.versions.get((kind.lower(), name.lower(), version))
        if found is None:
            raise missing(
                "Microsoft.MachineLearningServices/workspaces", f"{WORKSPACE}/{kind}/{name}/versions/{version}", GROUP
            )
        return Answer(200, copy.deepcopy(found))

    def put(self, request: Request) -> Answer:
        kind, name, version = (request.params[key] for key in ("kind", "name", "version"))
        before = self.versions.get((kind.lower(), name.lower(), version))
        asked = request.json.get("properties") or {}
        if (
            before is not None
            and kind.lower() == "codes"
            and before["properties"].get("codeUri") != asked.get("codeUri")
        ):
            raise Refusal(400, "UserError", "Asset paths cannot be updated.")  # azure-ai-ml _artifacts/_constants.py
        document = self.register(kind, name, version, asked)
        return Answer(201 if before is None else 200, copy.deepcopy(document))

    def discover(self, request: Request) -> Answer:
        """What azure-ai-ml 1.35.2 reads of a registry before it deploys a model from it (_registry_utils.py)."""
        where = {"primaryRegion": REGION, "primaryRegionResourceProviderUri": f"{self.world.address}/"}
        found = {"registryName": request.params["name"], "resourceGroup": "registries", "subscriptionId": SUBSCRIPTION}
        return Answer(200, {**found, **where})

    def get_public(self, request: Request) -> Answer:
        registry, name, version = (request.params[key] for key in ("registry", "name", "version"))
        found = self.public.get((registry, name, version))
        if found is None:
            raise missing(
                "Microsoft.MachineLearningServices/registries", f"{registry}/models/{name}/versions/{version}", GROUP
            )
        return Answer(200, found)

    def start_upload(self, request: Request) -> Answer:
        """Shape: azure-ai-ml 1.35.2 reads blobReferenceForConsumption.credential.sasUri and blobUri."""
        uri = f"{self.world.address}/code-{request.params['name'].lower()}"
        return Answer(
            200,
            {
                "pendingUploadId": self.world.guid(),
                "pendingUploadType": "TemporaryBlobReference",
                "blobReferenceForConsumption": {
                    "blobUri": uri,
                    "storageAccountArmId": f"/subscriptions/{SUBSCRIPTION}/x",
                    "credential": {"credentialType": "SAS", "sasUri": f"{uri}?{SAS}"},
                },
            },
        )

    def datastore(self, request: Request) -> Answer:
        document = {
            "id": f"{WORKSPACE_ID}/datastores/workspaceblobstore",
            "name": "workspaceblobstore",
            "type": "Microsoft.MachineLearningServices/workspaces/datastores",
            "properties": {
                "description": None,
                "tags": {},
                "properties": {},
                "isDefault": True,
                "credentials": {"credentialsType": "AccountKey"},
                "datastoreType": "AzureBlob",
                "accountName": self.world.account,
                "containerName": CONTAINER,
                "endpoint": DOMAIN,
                "protocol": "https",
                "subscriptionId": SUBSCRIPTION,
                "resourceGroup": GROUP,
                "tenantId": TENANT,
            },
            "systemData": {"createdAt": stamp(self.world.now()), "createdBy": PRINCIPAL, "createdByType": "User"},
        }
        if request.name.lower() == "datastores":
            return Answer(200, {"value": [document]})
        if request.name.lower() != "workspaceblobstore":
            raise missing(
                "Microsoft.MachineLearningServices/workspaces", f"{WORKSPACE}/datastores/{request.name}", GROUP
            )
        return Answer(200, document)

    def secrets(self, request: Request) -> Answer:
        return Answer(200, {"secretsType": "Sas", "sasToken": SAS})

    # ---- blobs (rest/api/storageservices)

    def _blob(self, request: Request) -> Blob:
        if "sig=" not in urlsplit(request.target).query:
            raise Refusal(
                403,
                "AuthenticationFailed",
                "Server failed to authenticate the request.",
                x_ms_error_code="AuthenticationFailed",
            )
        found = self.blobs.get((request.params["container"], request.params["blob"]))
        if found is None:
            raise Refusal(404, "BlobNotFound", "The specified blob does not exist.", x_ms_error_code="BlobNotFound")
        return found

    def _headers(self, blob: Blob, **more: str) -> dict[str, str]:
        modified = format_datetime(self.world.now(), usegmt=True)
        return {
            "ETag": f'"{blob.md5[:16]}"',
            "Last-Modified": modified,
            "x-ms-version": "2024-11-04",
            "x-ms-blob-type": "BlockBlob",
            "x-ms-creation-time": modified,
            "x-ms-request-server-encrypted": "true",
            "Content-MD5": blob.md5,
            **{f"x-ms-meta-{key}": value for key, value in blob.metadata.items()},
            **more,
        }

    def head(self, request: Request) -> Answer:
        blob = self._blob(request)
        return Answer(200, None, self._headers(blob, **{"Content-Length": str(len(blob.content))}))

    def download(self, request: Request) -> Answer:
        blob = self._blob(request)
        return Answer(200, blob.content, self._headers(blob, **{"Content-Type": "application/octet-stream"}))

    def upload(self, request: Request) -> Answer:
        """Put Blob, Put Block, Put Block List, Set Blob Metadata."""
        part = request.query.get("comp", "")
        key = request.params["container"], request.params["blob"]
        if part == "metadata":
            blob = self._blob(request)
            blob.metadata = {
                name.removeprefix("x-ms-meta-"): value
                for name, value in request.headers.items()
                if name.startswith("x-ms-meta-")
            }
            return Answer(200, None, self._headers(blob))
        if "sig=" not in urlsplit(request.target).query:
            self._blob(request)
        blob = self.blobs.setdefault(key, Blob(b""))
        if part == "block":
            blob.blocks[parse_qs(urlsplit(request.target).query)["blockid"][0]] = request.body
        elif part == "blocklist":
            names = [text.partition("<")[0] for text in request.body.decode().split("<Latest>")[1:]]
            blob.content, blob.blocks = b"".join(blob.blocks[name] for name in names), {}
        else:
            blob.content = request.body
        return Answer(201, None, self._headers(blob))

    def list_blobs(self, request: Request) -> Answer:
        prefix = request.query.get("prefix", "")
        found = "".join(
            f"<Blob><Name>{name}</Name><Properties><Content-Length>{len(blob.content)}</Content-Length></Properties></Blob>"
            for (container, name), blob in self.blobs.items()
            if container == request.params["container"] and name.startswith(prefix)
        )
        text = f'<?xml version="1.0" encoding="utf-8"?><EnumerationResults><Blobs>{found}</Blobs><NextMarker/></EnumerationResults>'
        return Answer(200, text.encode(), {"Content-Type": "application/xml"})
