"""The rollout itself: plan, state machine, decisions. Pure: time and observations are arguments."""
