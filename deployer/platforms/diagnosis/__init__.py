"""Why a deployment failed, and what to do: known failures, what logs betray, secrets taken out. Pure."""
