"""What must be so before a rollout starts: rights, quota, prices, limits, telemetry; and what is left over after."""
