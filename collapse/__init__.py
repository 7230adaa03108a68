"""Collapse: the science of recursive training. Imports no orchestrator."""

__version__ = "0.1.0"
