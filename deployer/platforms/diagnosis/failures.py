"""What is known of the ways an Azure ML deployment fails: error codes and status codes, as data.

Where a code has several causes that only the text tells apart, ``symptoms`` has them; this is what is left when the
text says nothing. Only waiting can help where ``retryable`` is true; everything else fails the same way again.

Source: learn.microsoft.com/azure/machine-learning/how-to-troubleshoot-online-endpoints (MicrosoftDocs/azure-ai-docs at
112100c, read 2026-11-25) wherever ``source`` is an anchor (``#…``); else what ``source`` names.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from deployer.cloud.answers import REGISTER

GUIDE = "learn.microsoft.com/azure/machine-learning/how-to-troubleshoot-online-endpoints"
_K8S = "learn.microsoft.com/azure/machine-learning/how-to-troubleshoot-kubernetes-extension"
_ARM = "learn.microsoft.com/azure/azure-resource-manager/troubleshooting/common-deployment-errors"


@dataclass(frozen=True, slots=True)
class Failure:
    """What a code means and what to do about it."""

    meaning: str
    """A clause in lower case without a full stop."""
    next_step: str
    """One imperative sentence."""
    source: str
    retryable: bool = False
    """The same request may succeed when it is repeated after a minute or more."""
    in_logs: bool = False
    """The container's own log says more than the code does."""


VAGUE = frozenset(
    {
        "",
        "badrequest",
        "conflict",
        "deploymentidentityerror",
        "inferencingclientcallfailed",
        "inferencingclientcreatedeploymentfailed",
        "none",
        "notfound",
        "servererror",
        "usererror",
        "validationerror",
    }
)
"""Codes, in lower case, around another code that says more (azure/recordings/07; azure-sdk-for-python#33611)."""

_SHARED = {
    "ImageBuildFailure": Failure(
        "the environment's image could not be built",
        "Read the image build log, whose place the message names, and pin the dependency it stops at.",
        "#error-imagebuildfailure",
    ),
    "OutOfQuota": Failure(
        "a quota or the capacity does not suffice",
        "Compare `az ml compute list-usage` with what the deployment needs, then free or request quota.",
        "#error-outofquota",
    ),
    "BadArgument": Failure(
        "Azure could not use what the deployment names: image, model, identity, template or resources",
        "Check that the image and the model exist and that the endpoint's identity may read both.",
        "#error-badargument",
        in_logs=True,
    ),
    "ResourceNotReady": Failure(
        "the container crashed or did not become ready in time",
        "Run the scoring script with `platform: local`; if that works, give readiness_probe more time.",
        "#error-resourcenotready",
        in_logs=True,
    ),
    "ResourceNotFound": Failure(
        "a resource that the deployment refers to does not exist, or its registry is private",
        "Check names and paths of model, code, environment and registry.",
        "#error-resourcenotfound",
    ),
    "WorkspaceManagedNetworkNotReady": Failure(
        "the workspace's managed network has not been provisioned",
        "Run `az ml workspace provision-network`, wait until it is active, and start again.",
        "#error-workspacemanagednetworknotready",
    ),
    "OperationCanceled": Failure(
        "another operation on the endpoint went first",
        "Wait a minute, then start again.",
        "#error-operationcanceled",
        retryable=True,
    ),
    "SecretsInjectionError": Failure(
        "a secret that environment_variables refers to could not be read",
        "Check that the secret exists and give the endpoint's identity the right to read it.",
        "#error-secretsinjectionerror",
    ),
    "InternalServerError": Failure(
        "Azure ML itself failed",
        "Start again in a few minutes; if it fails again, open a support ticket with the operation's id.",
        "#error-internalservererror",
        retryable=True,
    ),
}

_KUBERNETES = {
    "ACRSecretError": Failure(
        "the cluster has no credentials for the container registry (yet)",
        "Start again in a minute; if it fails again, check the extension, its network and its version (over 1.1.25).",
        "#error-acrsecreterror",
        retryable=True,
    ),
    "TokenRefreshFailed": Failure(
        "the cluster's identity is not set up, so the extension gets no credentials",
        "Install the Azure ML extension again.",
        "#error-tokenrefreshfailed",
    ),
    "GetAADTokenFailed": Failure(
        "the cluster could not get a token from Microsoft Entra",
        "Check the cluster's outbound proxy and, for a private workspace, its private link.",
        "#error-getaadtokenfailed",
    ),
    "ACRAuthenticationChallengeFailed": Failure(
        "the cluster cannot reach the workspace's container registry",
        "Check the registry's public network access, or give the cluster's network a private endpoint for it.",
        "#error-acrauthenticationchallengefailed",
    ),
    "ACRTokenExchangeFailed": Failure(
        "the registry does not accept the identity yet: a role assignment takes a while",
        "Start again in a minute.",
        "#error-acrtokenexchangefailed",
        retryable=True,
    ),
    "ACRTokenExchangeForbidden": Failure(
        "the registry does not accept the identity: its role is missing or has not taken effect",
        "Start again in a minute; if it fails again, give the cluster's identity AcrPull on the registry.",
        "github.com/Azure/azure-sdk-for-python/issues/33611",
        retryable=True,
    ),
    "KubernetesUnaccessible": Failure(
        "Azure ML cannot reach the cluster, or does not trust its certificate",
        "Check that the cluster runs and rotate its certificate if it has expired (takes effect within 5 hours).",
        "#error-kubernetesunaccessible",
    ),
    "ImagePullLoopBackOff": Failure(
        "the cluster cannot pull the image",
        "Check the cluster's network policy and its AcrPull role on the registry.",
        "#error-imagepullloopbackoff",
    ),
    "DeploymentCrashLoopBackOff": Failure(
        "the container crashes while it starts: an error in the scoring script, or too little memory",
        "Correct the error in the log; without one raise resources.limits.memory.",
        "#error-deploymentcrashloopbackoff",
        in_logs=True,
    ),
    "KubernetesCrashLoopBackOff": Failure(
        "a pod crashes again and again: an error in the scoring script, or too little memory",
        "Correct the error in the log; without one raise resources.limits.memory.",
        "#error-kubernetescrashloopbackoff",
        in_logs=True,
    ),
    "UserScriptInitFailed": Failure(
        "init() of the scoring script raised an exception",
        "Correct init() where the log's last frame points.",
        "#error-userscriptinitfailed",
        in_logs=True,
    ),
    "UserScriptImportError": Failure(
        "the scoring script imports a package that the environment does not have",
        "Add the package to the environment.",
        "#error-userscriptimporterror",
        in_logs=True,
    ),
    "UserScriptFunctionNotFound": Failure(
        "the scoring script has no init() or no run()",
        "Define init() and run() in the scoring script.",
        "#error-userscriptfunctionnotfound",
        in_logs=True,
    ),
    "NamespaceNotFound": Failure(
        "the namespace of the attached compute does not exist in the cluster",
        "Detach the compute and attach it again with a namespace that exists.",
        "#error-namespacenotfound",
    ),
    "EndpointNotFound": Failure(
        "the endpoint does not exist in the cluster",
        "Create the endpoint on this compute first.",
        "#error-endpointnotfound",
    ),
    "EndpointAlreadyExists": Failure(
        "the endpoint's name is taken in this cluster",
        "Choose another endpoint name.",
        "#error-endpointalreadyexists",
    ),
    "ScoringFeUnhealthy": Failure(
        "azureml-fe, which routes requests in the cluster, is missing or unhealthy",
        "Repair azureml-fe (`kubectl get pod -n azureml`), or update the Azure ML extension.",
        "#error-scoringfeunhealthy",
    ),
    "ValidateScoringFailed": Failure(
        "the scoring URL could not be validated",
        "Check the endpoint's scoring URL and its DNS name, then start again.",
        "#error-validatescoringfailed",
    ),
    "InvalidDeploymentSpec": Failure(
        "the deployment's specification is not valid",
        "Check instance_count and the least and most instances of scale_settings.",
        "#error-invaliddeploymentspec",
    ),
    "PodUnschedulable": Failure(
        "no node of the cluster can take the pod",
        "Request less cpu and memory, free or add nodes, or check the instance type's node selector.",
        "#error-podunschedulable",
    ),
    "PodOutOfMemory": Failure(
        "the container needs more memory than its limit",
        "Raise resources.limits.memory, or use a bigger instance_type.",
        "#error-podoutofmemory",
    ),
    "InferencingClientCallFailed": Failure(
        "the cluster's Azure ML extension cannot be reached",
        "Detach the compute and attach it again with the same name and namespace; then check the relay server's pods.",
        "#error-inferencingclientcallfailed",
    ),
    **{
        code: Failure(meaning, step, f"{_K8S}#error-code-of-healthcheck")
        for code, meaning, step in (
            ("E40001", "the cluster supports no load balancer", "Set inferenceRouterServiceType to nodePort."),
            ("E40002", "inferenceRouterHA needs 3 nodes", "Add nodes, or set inferenceRouterHA=false."),
            ("E40003", "internal load balancers need AKS", "Remove internalLoadBalancerProvider."),
            ("E40007", "the TLS key or certificate is not valid", "Give the extension a valid key and certificate."),
            ("E45002", "another Prometheus operator runs", "Install the extension with installPromOp=false."),
            ("E45003", "the cluster's network misses what Azure ML needs", "Allow the required outbound traffic."),
            ("E45004", "parts of the legacy AKS support are left", "Delete the legacy azureml-fe role."),
            ("E45005", "parts of the legacy AKS support are left", "Delete the legacy azureml-fe deployment."),
        )
    },
}

_RESOURCE_MANAGER = {
    "AuthorizationFailed": Failure(
        "the identity lacks a right",
        "Give this identity the role that `deployer doctor` shows.",
        _ARM,
    ),
    "LinkedAuthorizationFailed": Failure(
        "the identity lacks a right on a linked resource",
        "Give this identity the right on the resource that the message names.",
        _ARM,
    ),
    "RequestDisallowedByPolicy": Failure(
        "an Azure policy forbids it",
        "Change what the policy forbids, or ask its owner for an exemption.",
        _ARM,
    ),
    "ScopeLocked": Failure("a lock protects the resource", "Remove the lock, or ask who set it.", _ARM),
    "MissingSubscriptionRegistration": Failure(
        "the subscription is not registered for a resource provider",
        "Run `az provider register --namespace` with the namespace that the message names.",
        _ARM,
    ),
    "SubscriptionNotRegistered": Failure(
        "the subscription is not registered for what managed endpoints are made of",
        REGISTER,
        "learn.microsoft.com/answers/questions/2068819",
    ),
    "InvalidAuthenticationTokenTenant": Failure(
        "the token is of another tenant than the subscription",
        "Sign in with `az login --tenant`, or set AZURE_TENANT_ID, with the tenant that the message names.",
        _ARM,
    ),
    "SubscriptionNotFound": Failure(
        "the subscription does not exist or is not active",
        "Check the subscription's id and state.",
        "#subscription-doesnt-exist",
    ),
    "ResourceGroupNotFound": Failure("the resource group does not exist", "Check the resource group's name.", _ARM),
    "InvalidSkuInRegion": Failure(
        "the instance type does not exist in the workspace's region",
        "Choose an instance_type of this region (`az ml compute list-sizes`).",
        "learn.microsoft.com/azure/machine-learning/reference-managed-online-endpoints-vm-sku-list",
    ),
    "SkuNotAvailable": Failure(
        "the instance type is not to be had in this region now",
        "Choose another instance_type, or start again later.",
        "learn.microsoft.com/azure/azure-resource-manager/troubleshooting/error-sku-not-available",
        retryable=True,
    ),
    "QuotaExceeded": Failure("a quota is exhausted", "Free or request quota.", "#error-outofquota"),
    "TooManyRequests": Failure(
        "Azure throttles this identity's requests", "Start again in a minute.", _ARM, retryable=True
    ),
    "ServiceUnavailable": Failure("Azure is not available", "Start again in a minute.", _ARM, retryable=True),
    "GatewayTimeout": Failure("Azure did not answer in time", "Start again in a minute.", _ARM, retryable=True),
    "InvalidAuthenticationToken": Failure("the token is not valid here", "Sign in again with `az login`.", _ARM),
    "ExpiredAuthenticationToken": Failure(
        "the token has expired", "Start again; a new token is asked for.", _ARM, retryable=True
    ),
}

FAILURES = MappingProxyType({**_SHARED, **_KUBERNETES, **_RESOURCE_MANAGER})
"""Error code of a request or of a long-running operation -> what is known of it."""

_CODES = f"{GUIDE}#http-status-codes"
_CLIENT = Failure("the key or token was refused", "Fetch the endpoint's key or token again.", _CODES)
_PLATFORM = Failure(
    "Azure ML's own infrastructure failed", "Send the request again; if it lasts, open a support ticket.", _CODES, True
)

MANAGED_STATUSES = MappingProxyType(
    {
        401: _CLIENT,
        403: Failure("the identity may not score this endpoint", "Give it the endpoint's score/action right.", _CODES),
        404: Failure("no deployment has traffic, or the path is wrong", "Give a deployment traffic.", _CODES),
        408: Failure(
            "the model took longer than request_timeout_ms",
            "Raise request_settings.request_timeout_ms (at most 180000), or make run() faster.",
            _CODES,
        ),
        424: Failure(
            "the model's container answered with an error",
            "Read the deployment's log and the header ms-azureml-model-error-statuscode.",
            _CODES,
            in_logs=True,
        ),
        429: Failure(
            "more requests wait than 2 x max_concurrent_requests_per_instance x instance_count, or the rate limit of "
            "the endpoint is reached",
            "Add instances, or raise max_concurrent_requests_per_instance together with WORKER_COUNT.",
            _CODES,
            retryable=True,
        ),
        500: _PLATFORM,
        502: Failure("the front end got no valid answer", "Send the request again.", _CODES, retryable=True),
        503: Failure("the endpoint is not available", "Send the request again.", _CODES, retryable=True),
        504: Failure("the front end got no answer in time", "Send the request again.", _CODES, retryable=True),
    }
)
"""Status of a scoring answer of a managed endpoint -> what is known of it; 502-504 are no answers of the model."""

KUBERNETES_STATUSES = MappingProxyType(
    {
        **MANAGED_STATUSES,
        404: Failure(
            "no deployment has traffic, or the host and path are not the endpoint's",
            "Give a deployment traffic.",
            _CODES,
        ),
        408: Failure(
            "the model took longer than request_timeout_ms",
            "Raise request_settings.request_timeout_ms (at most 300000), or make run() faster.",
            _CODES,
        ),
        409: Failure(
            "another operation on the endpoint is under way", "Wait until it has ended.", _CODES, retryable=True
        ),
        502: Failure(
            "run() raised an exception or the container crashed", "Read the deployment's log.", _CODES, in_logs=True
        ),
        503: Failure(
            "more requests came than the replicas take, and new ones take time",
            "Raise scale_settings.min_instances, or lower target_utilization_percentage.",
            _CODES,
            retryable=True,
        ),
        504: Failure(
            "the model took longer than the time-out (5 s unless set)",
            "Raise request_settings.request_timeout_ms, or make run() faster.",
            _CODES,
        ),
    }
)
"""The same for Kubernetes endpoints."""
