"""The embedded data plane: Envoy, model servers, telemetry store, and the program that keeps them alive."""
