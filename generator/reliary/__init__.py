"""Definitions of tenants, SLOs and routes -> a proven monitoring stack. Start with `compile.py`."""

__version__ = "0.1.0"
