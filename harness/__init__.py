"""Package a machine-learning model in every way, measure each, and say with evidence which to use."""

__version__ = "0.1.0"
