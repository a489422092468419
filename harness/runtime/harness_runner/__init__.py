"""Runs a packaged model: ``python -m harness_runner once|serve``. Standard library only."""
