"""The packaged model behind the HTTP contract of a managed platform: ``.sagemaker`` and ``.vertex``."""
