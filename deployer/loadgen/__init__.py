"""Adapters of the load port."""
