"""What people read of a rollout."""
