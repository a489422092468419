"""The packaged model over HTTP: ``python -m harness_rest --socket PATH`` or ``--port N``."""
