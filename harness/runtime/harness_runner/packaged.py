"""What model.toml says of a start. The harness writes this file anew into each artifact."""

ENTRYPOINT = "predictor.py"
ENVIRONMENT = {}
PRUNED = {}
