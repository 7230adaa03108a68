"""Prefect tasks, one per file: read, call the science, write."""
