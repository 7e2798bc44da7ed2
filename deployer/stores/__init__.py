"""Adapters of the journal port."""
