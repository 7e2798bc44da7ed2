"""Words in a container's log that tell why it does not run, as data; in the manner of ``symptoms``.

Source: as in ``symptoms``; the wording of Azure ML's server was read in its package and recorded from it
(azureml-inference-server-http 1.5.1).
"""

from __future__ import annotations

from deployer.platforms.diagnosis.symptoms import symptom

_SERVER = "azureml-inference-server-http 1.5.1, server/user_script.py and aml_blueprint.py"
_MEMORY = "the container needs more memory than it has"
_MORE = (
    "Choose an instance_type with more memory (Kubernetes: raise resources.limits.memory), or set WORKER_COUNT lower."
)
_REACH = (
    "Allow the traffic: a private endpoint or outbound rule for the host; `egress_public_network_access` if it is set."
)

LOGS = (
    symptom("PodOutOfMemory", r"\bOOMKilled\b|exit code:? 137\b|oom-kill", _MEMORY, _MORE, "#error-podoutofmemory"),
    symptom(
        "PodOutOfMemory",
        r"^(?:\w+\.)*MemoryError\b|std::bad_alloc|cannot allocate memory|DefaultCPUAllocator: not enough memory",
        _MEMORY,
        _MORE,
        "#error-podoutofmemory",
    ),
    symptom(
        "PodOutOfMemory",
        r"CUDA out of memory|CUBLAS_STATUS_ALLOC_FAILED",
        "the model does not fit into the GPU's memory",
        "Choose an instance_type with more GPU memory, or set WORKER_COUNT to 1.",
        "#memory-quota",
    ),
    symptom(
        "OutOfQuota",
        r"no space left on device",
        "image and model do not fit on the instance's disk",
        "Choose an instance_type with more disk, or make image and model smaller.",
        "#disk-quota",
    ),
    symptom(
        "UserScriptImportError",
        r"no score script found|No module named 'main'",
        "the scoring script was not found where code_configuration says",
        "Correct code_configuration.code and scoring_script.",
        _SERVER,
    ),
    symptom(
        "UserScriptImportError",
        r"register\(\) takes 3 positional arguments but 4 were given",
        "Flask and the inference server in the environment do not fit together",
        "Remove flask from the environment and use azureml-inference-server-http 0.8 or later.",
        "#error-resourcenotready",
    ),
    symptom(
        "UserScriptImportError",
        r"compiled using NumPy 1\.x|numpy\.dtype size changed|multiarray failed to import|_ARRAY_API not found",
        "a package in the environment was built for another NumPy",
        "Pin numpy to the version the model was trained with (often numpy<2).",
        "github.com/Azure/azureml-examples/issues/3415",
    ),
    symptom(
        "UserScriptImportError",
        r"ModuleNotFoundError: No module named '(?P<module>[\w.]{1,100})'",
        "the scoring process imports {module}, which the environment does not have",
        "Add the package of {module} to the environment, pinned.",
        "#error-userscriptimporterror",
    ),
    symptom(
        "UserScriptImportError",
        r"ImportError: (?P<what>.{1,160})",
        "an import fails: {what}",
        "Pin the package to the version the code was written for, or add what it needs to the image.",
        "#error-userscriptimporterror",
    ),
    symptom(
        "UserScriptImportError",
        r"(?:SyntaxError|IndentationError|TabError): (?P<what>.{1,120})",
        "the scoring code is not valid Python: {what}",
        "Correct it where the log points, with the environment's Python version in mind.",
        "#error-resourcenotready",
    ),
    symptom(
        "UserScriptFunctionNotFound",
        r"does not have a (?P<function>init|run)\(\) function defined",
        "the scoring script has no {function}()",
        "Define {function}() in the scoring script.",
    ),
    symptom(
        "UserScriptFunctionNotFound",
        r"(?P<what>run\(\) (?:needs to accept|cannot accept|cannot be decorated).{1,100})",
        "{what}",
        "Give run() one argument for the input.",
        _SERVER,
    ),
    symptom(
        "UserScriptInitFailed",
        r"KeyError: ['\"]AZUREML_MODEL_DIR|AZUREML_MODEL_DIR[^\0]{0,600}?not NoneType$",
        "AZUREML_MODEL_DIR is not set: the deployment names no model",
        "Add `model` to the deployment.",
        "learn.microsoft.com/azure/machine-learning/how-to-deploy-online-endpoints#understand-the-scoring-script",
    ),
    symptom(
        "UserScriptInitFailed",
        r"(?:FileNotFoundError|OSError|HFValidationError): .{0,80}?"
        r"(?P<path>/[^\n'\"]{0,40}azureml-models/[^\n'\"]{1,120})",
        "the model has no file {path}",
        "Correct the path below AZUREML_MODEL_DIR; a directory keeps its own name there.",
        "learn.microsoft.com/azure/machine-learning/how-to-deploy-online-endpoints#understand-the-scoring-script",
    ),
    symptom(
        "UserScriptInitFailed",
        r"UnpicklingError|unsupported pickle protocol|incompatible dtype|Can't get attribute '(?P<name>\w{1,80})'",
        "the model was saved with other versions of Python or its packages than the environment has",
        "Pin the environment to the versions the model was trained with.",
        "scikit-learn.org/stable/model_persistence.html",
    ),
    symptom(
        "ResourceNotReady",
        r"WORKER TIMEOUT \(pid|worker timed out, killing",
        "a worker did not start or answer within the server's time-out",
        "Set the environment variable WORKER_TIMEOUT higher, or load less in init().",
        "github.com/microsoft/azure-pipelines-tasks/issues/16052",
    ),
    symptom(
        "PodOutOfMemory", r"was sent SIGKILL! Perhaps out of memory", f"it seems that {_MEMORY}", _MORE, "#memory-quota"
    ),
    symptom(
        "ResourceNotReady",
        r"address already in use",
        "two processes in the container want the same port",
        "Let one process listen, on the port of inference_config (5001 for Azure ML's own server).",
        "#error-resourcenotready",
    ),
    symptom(
        "ResourceNotReady",
        r"probe failed.{0,300}?(?:connection refused|statuscode: 404)",
        "nothing answers where the probe asks",
        "Let the container listen on the port and path that inference_config names.",
        "learn.microsoft.com/azure/machine-learning/how-to-deploy-custom-container",
    ),
    symptom(
        "ImagePullLoopBackOff",
        r"manifest (?:for .{1,120} not found|unknown)|repository does not exist",
        "the image does not exist in its registry",
        "Correct the environment's image and tag.",
        "#unable-to-download-user-container-image",
    ),
    symptom(
        "ImagePullLoopBackOff",
        r"unauthorized: authentication required|pull access denied|not have pull permission"
        r"|failed to authorize|401 Unauthorized.{0,80}azurecr|azurecr.{0,120}401 Unauthorized",
        "the container registry refuses the endpoint's identity",
        "Give the endpoint's identity AcrPull on the registry.",
        "#container-registry-authorization-error",
    ),
    symptom(
        "ImagePullLoopBackOff",
        r"ErrImagePull|ImagePullBackOff",
        "the image cannot be pulled",
        "Check that the image exists, and the registry's network and AcrPull role.",
        "#error-imagepullloopbackoff",
    ),
    symptom(
        "BadArgument",
        r"AuthorizationPermissionMismatch|not authorized to perform this operation|KeyBasedAuthenticationNotPermitted"
        r"|AuthorizationFailure|AuthenticationFailed",
        "the endpoint's identity may not read the model or code in the workspace's storage",
        "Give the endpoint's identity Storage Blob Data Reader, and check the storage's network rules.",
        "#authorization-error",
    ),
    symptom(
        "BadArgument",
        r"BlobNotFound|The specified (?:blob|container) does not exist|ContainerNotFound",
        "the model or code is not in the workspace's storage",
        "Register the model again, and deploy that version.",
        "#unable-to-download-user-model",
    ),
    symptom(
        "BadArgument",
        r"(?:failed to resolve|could not resolve|Max retries exceeded|Cannot connect|unable to (?:access|connect))"
        r".{0,80}?(?P<host>[\w-]{1,63}(?:\.[\w-]{1,63}){1,6})",
        "{host} cannot be reached from the deployment",
        _REACH,
        "#network-isolation-issues",
    ),
    symptom(
        "BadArgument",
        r"name or service not known|temporary failure in name resolution|network is unreachable|no route to host"
        r"|PublicAccessNotPermitted|public network access is disabled",
        "a host the deployment needs cannot be reached",
        _REACH,
        "#network-isolation-issues",
    ),
    symptom(
        "ImageBuildFailure",
        r"(?:No matching distribution found for|Could not find a version that satisfies the requirement) "
        r"(?P<package>[\w.\[\]=<>!~,-]{1,80})",
        "pip finds no version of {package}",
        "Correct the version, or the index it comes from.",
        "#generic-image-build-failure",
    ),
    symptom(
        "ImageBuildFailure",
        r"ResolvePackageNotFound|CondaEnvException|Pip failed|PackagesNotFoundError|ResolutionImpossible",
        "conda or pip cannot make the environment",
        "Make it locally with `conda env create`, and pin what does not fit.",
        "#conda-installation-issues",
    ),
    symptom(
        "ResourceNotReady",
        r"Found no NVIDIA driver|no CUDA-capable device|libcuda\.so\.1: cannot open",
        "the code wants a GPU that the instance does not have",
        "Choose a GPU instance_type, or load the model on the CPU.",
        "#error-resourcenotready",
    ),
    symptom(
        "ResourceNotReady",
        r"exec format error",
        "the image is built for another processor",
        "Build the image for linux/amd64.",
        "kubernetes.io/docs/concepts/containers/images",
    ),
)
"""Looked for in each container's log; its last occurrence counts."""
