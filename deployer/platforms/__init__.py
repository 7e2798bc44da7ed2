"""Adapters of the platform port. The only importers of a platform's own libraries."""
