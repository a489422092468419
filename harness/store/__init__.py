"""Runs on disk: a manifest, append-only samples, and the queries over them."""
