"""An XGBoost model in XGBoost's own format: a booster, or a model with scikit-learn's interface."""

import importlib

import xgboost


def load(folder, settings):
    """A function from a frame to the predictions."""
    module, _, name = settings["class"].rpartition(".")
    model = getattr(importlib.import_module(module), name)()
    model.load_model(str(folder / settings["file"]))
    if isinstance(model, xgboost.Booster):
        return lambda data: model.predict(xgboost.DMatrix(data))
    return model.predict
