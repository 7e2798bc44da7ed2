"""What users write: the rollout manifest, its quantities, its strict loading and its JSON schema. Pure."""
