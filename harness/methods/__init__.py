"""The packaging methods: one module each, and the table of all of them.

A new method is one new module and one line in ``METHODS``.
"""

from harness.methods import conda, container, pex, rest_api, venv
from harness.methods.contract import Method

METHODS: dict[str, Method] = {module.ID: module for module in (container, venv, conda, pex, rest_api)}
