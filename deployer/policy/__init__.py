"""What the manifest must satisfy beyond being well formed. Pure."""
