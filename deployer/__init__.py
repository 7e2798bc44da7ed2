"""Safe rollouts of model versions on Azure ML online endpoints."""
