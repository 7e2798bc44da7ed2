"""Words in Azure's error messages that tell which of several causes a code has, as data.

The order is the order of judgement: the first symptom that is found decides, so causes stand before what they cause.
Patterns look at plain text without terminal codes and secrets; none may take long on any text.

Source: as in ``failures``; wording of messages from public issues where they are named.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from deployer.platforms.diagnosis.failures import VAGUE

_ISSUES = "github.com/Azure-Samples/contoso-chat/issues/139 and azure-sdk-for-net/issues/36961"


@dataclass(frozen=True, slots=True)
class Symptom:
    """A cause that text gives away."""

    code: str
    """The error code that fits; used where the reported one says less."""
    pattern: re.Pattern[str]
    meaning: str
    """A clause; ``{name}`` stands for what the pattern's group of that name found."""
    next_step: str
    """One imperative sentence, in the same manner."""
    source: str
    retryable: bool = False


def symptom(
    code: str, pattern: str, meaning: str, next_step: str, source: str = "", *, retryable: bool = False
) -> Symptom:
    """Make a symptom; ``source`` is the error code's own section where none is named."""
    compiled = re.compile(pattern, re.IGNORECASE | re.MULTILINE)
    return Symptom(code, compiled, meaning, next_step, source or f"#error-{code.lower()}", retryable)


_LIMIT_MAY_BE = (
    rf"\A(?:{'|'.join(sorted(VAGUE - {''}))}|unknown|OutOfQuota|QuotaExceeded): .*?"
    r"\b(?:maximum|max|limit|quota)(?: (?:number|count|total|of|for|on|the|online|managed|kubernetes|\(?\d+\)?)){0,6}"
    r" (?P<what>endpoints|deployments)\b"
)
"""Only where Azure gives no other cause: "the maximum number of retries for deployments" is no limit of deployments."""

MESSAGES = (
    symptom(
        "OutOfQuota",
        r"not enough quota available for (?P<sku>[\w.-]{1,60})(?:.{0,120}?usage/limit:? (?P<used>\d+)/(?P<limit>\d+))"
        r"(?:.{0,40}?additional needed:? (?P<needed>\d+))?",
        "{sku} needs {needed} more cores; {used} of {limit} of its family are in use",
        "Request more cores of that family, use a smaller instance_type, or delete deployments without traffic.",
        "github.com/MicrosoftLearning/mslearn-azure-ml/issues/30",
    ),
    symptom(
        "OutOfQuota",
        r"has a (?P<what>[\w ]{1,60}?)vCPU quota of (?P<limit>\d+)\b.{0,160}?(?P<needed>\d+) vCPUs",
        "{needed} cores are needed; the quota of {what}cores is {limit}",
        "Request more cores, or choose an instance_type of another family.",
        "github.com/dotnet/machinelearning-modelbuilder/issues/2140",
    ),
    symptom(
        "OutOfQuota",
        r"role ?assignments?\b.{0,60}\b(?:limit|quota|exceed)|RoleAssignmentLimitExceeded",
        "the subscription has no role assignment left for the endpoint's identity",
        "Delete role assignments that nobody uses.",
        "#role-assignment-quota",
    ),
    symptom(
        "OutOfQuota",
        r"\bAllocationFailed|ZonalAllocationFailed|OverconstrainedAllocation|OutOfCapacity"
        r"|(?:lack of|insufficient|no|not enough).{0,60}capacity\b.{0,60}\bregion",
        "the region has no machines of this size free now",
        "Start again later, or choose another instance_type or region.",
        "#region-wide-vm-capacity",
        retryable=True,
    ),
    symptom(
        "OutOfQuota",
        r"kubernetes unschedulable\W*(?:details:? ?)?(?P<why>[^\n]{0,160})",
        "no node of the cluster can take the deployment: {why}",
        "Request less cpu and memory, or let the cluster's operators free or add nodes.",
        "#kubernetes-quota",
    ),
    symptom(
        "OutOfQuota",
        r"OutOfQuota\b.{0,80}\bdisk|no space left on device|disk space",
        "image and model do not fit on the instance's disk",
        "Choose an instance_type with more disk, or make image and model smaller.",
        "#disk-quota",
    ),
    symptom(
        "OutOfQuota",
        r"OutOfQuota\b.{0,80}\bmemory",
        "the model does not fit into the instance's memory",
        "Choose an instance_type with more memory.",
        "#memory-quota",
    ),
    symptom(
        "OutOfQuota",
        r"\bendpoint quota reached\b",
        "the limit of endpoints is reached",
        "Delete endpoints that nobody uses, or request a higher limit.",
        "github.com/Azure/azureml-examples/pull/1635",
    ),
    symptom(
        "OutOfQuota",
        _LIMIT_MAY_BE,
        "the limit of {what} is reached",
        "Delete {what} that nobody uses, or request a higher limit.",
        "#endpoint-quota",
    ),
    symptom(
        "OutOfQuota",
        r"OutOfQuota\b.{0,80}\bcluster",
        "the quota of compute clusters is exhausted",
        "Delete clusters that nobody uses, or request more.",
        "#cluster-quota",
    ),
    symptom(
        "InvalidSkuInRegion",
        r"(?:size|sku|instance ?type)\W{1,3}(?P<sku>\w[\w.-]{2,60})?.{0,60}not (?:available|supported) in .{0,30}"
        r"(?:region|location)",
        "instance type {sku} does not exist in the workspace's region",
        "Choose an instance_type of this region (`az ml compute list-sizes`).",
        "learn.microsoft.com/azure/machine-learning/reference-managed-online-endpoints-vm-sku-list",
    ),
    symptom(
        "OperationCanceled",
        r"waiting for lock confirmation",
        "the same operation was asked for a moment ago and waits for its lock",
        "Wait a minute, then start again.",
        "#operation-canceled-waiting-for-lock-confirmation",
        retryable=True,
    ),
    symptom(
        "OperationCanceled",
        r"higher priority",
        "an operation of higher priority went first",
        "Wait a minute, then start again.",
        "#operation-canceled-by-another-higher-priority-operation",
        retryable=True,
    ),
    symptom(
        "EndpointBusy",
        r"because it is in (?P<state>\w{1,20}) provisioning state",
        "the endpoint is busy ({state}); one operation runs at a time",
        "Wait until it has ended, then start again.",
        _ISSUES,
        retryable=True,
    ),
    symptom(
        "EndpointNameTaken",
        r"endpoint name needs to be unique within a region",
        "the endpoint's name is taken in this region, perhaps by another customer",
        "Choose another endpoint name.",
        "github.com/Azure/azure-sdk-for-python/issues/35109",
    ),
    symptom(
        "EndpointAlreadyExists",
        r"already exists in cluster",
        "the endpoint's name is taken in this cluster",
        "Choose another endpoint name.",
    ),
    symptom(
        "AuthorizationFailed",
        r"not have (?:authorization|permission) to perform action '(?P<action>[\w./*]{3,160})'",
        "the identity lacks the right {action}",
        "Give this identity the role that `deployer doctor` shows.",
        "github.com/Azure/llmops-gha-demo/pull/8",
    ),
    symptom(
        "ImageBuildFailure",
        r"container registry authorization failure",
        "the workspace's credentials for its container registry are out of step",
        "Run `az ml workspace sync-keys`, then start again; check the registry's network if that does not help.",
        "#azure-container-registry-authorization-failure",
    ),
    symptom(
        "ImageBuildFailure",
        r"failed to communicate with the workspace'?s container registry",
        "the image cannot be built: the workspace's registry is private and unreachable from where images are built",
        "Set the workspace's image_build_compute to a cluster in the network.",
        "#image-build-compute-not-set-in-a-private-workspace-with-virtual-network",
    ),
    symptom(
        "ImageBuildFailure",
        r"time(?:d)?[ -]?out.{0,40}(?:waiting for )?(?:the )?image|image build.{0,40}tim(?:ed|ing) out|quarantine",
        "the image was not there in time: it is too large, or the registry's quarantine policy holds it",
        "Build the image beforehand, and check the registry's quarantine policy.",
        "#image-build-timing-out",
    ),
    symptom(
        "ImageBuildFailure",
        r"build log.{0,120}?\bpath '(?P<log>[^'\n]{1,200})'",
        "the environment's image could not be built; its log is {log} in the workspace's storage",
        "Read that log and pin the dependency it stops at.",
        "#error-imagebuildfailure",
    ),
    symptom(
        "BadArgument",
        r"not have pull permission on the registry",
        "the endpoint's identity may not pull from the container registry",
        "Give the endpoint's identity AcrPull on the registry and wait some minutes for it to take effect.",
        "github.com/MicrosoftDocs/azure-docs/issues/107890",
    ),
    symptom(
        "BadArgument",
        r"resource requests?.{0,40}greater than (?:the )?limits?",
        "resources.requests is over resources.limits, or over those of the instance type",
        "Lower resources.requests.",
        "#resource-requests-greater-than-limits",
    ),
    symptom(
        "BadArgument",
        r"template function",
        "a policy of the subscription is written wrongly",
        "Correct or remove the policy assignment that the message names.",
        "#invalid-template-function-specification",
    ),
    symptom(
        "BadArgument",
        r"mlflow.{0,80}private|private.{0,80}mlflow",
        "MLflow models cannot be deployed without code in the legacy network isolation",
        "Use a workspace managed network, or add a scoring script and an environment.",
        "#mlflow-model-format-with-private-network-is-unsupported",
    ),
    symptom(
        "ScoringFeUnhealthy",
        r"azureml-fe\b.{0,60}(?:not ready|unhealthy|not healthy|not found)",
        "azureml-fe, which routes requests in the cluster, is not ready",
        "Repair azureml-fe (`kubectl get pod -n azureml`), or update the Azure ML extension.",
        "#azureml-fe-not-ready",
    ),
    symptom(
        "V1LegacyMode",
        r"v1_?legacy_?mode",
        "the workspace is in v1 legacy mode, which knows no managed endpoints",
        "Turn v1_legacy_mode off after asking who set it.",
        "#online-endpoint-creation-fails-with-a-v1legacymode--true-message",
    ),
    symptom(
        "KubernetesUnaccessible",
        r"reason:? invalidcertificate",
        "the cluster's certificate is not valid",
        "Rotate the cluster's certificate and start again when it has taken effect (up to 5 hours).",
    ),
)
"""Looked for in the message of the error."""
