"""A LightGBM booster in LightGBM's own format."""

import lightgbm


def load(folder, settings):
    """The booster's ``predict``."""
    return lightgbm.Booster(model_file=str(folder / settings["file"])).predict
