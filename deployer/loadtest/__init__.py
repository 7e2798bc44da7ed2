"""Load tests: what was sent and seen, and what it says about the targets. Pure."""
