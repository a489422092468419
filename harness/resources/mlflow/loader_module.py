"""A model with a loader of its own: a module among its code that has ``_load_pyfunc``."""

import importlib
import sys


def load(folder, settings):
    """The method of what the module loads that MLflow would call."""
    if settings["code"]:
        sys.path.insert(0, str(folder / settings["code"]))
    place = str(folder / settings["data"]) if settings["data"] else str(folder)
    module = importlib.import_module(settings["module"])
    config = settings["config"]
    model = getattr(module, "_load_pyfunc")(place, *([config] if config else []))  # noqa: B009 -- the name is MLflow's
    return getattr(model, settings["predict"])
