"""Telling others what becomes of a rollout: webhooks, OpenTelemetry. Nothing here may raise or block."""
