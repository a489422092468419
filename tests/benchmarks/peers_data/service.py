"""The BentoML service. The base image's name comes with the build, in BASE_IMAGE."""

import os
import sys
from pathlib import Path
from typing import Any

import bentoml

HERE = Path(__file__).parent
REQUIREMENTS = "{requirements}"
image = bentoml.images.Image(base_image=os.environ.get("BASE_IMAGE", "scratch"), python_version="{minor}")
image = image.python_packages(*REQUIREMENTS.split())


@bentoml.service(image=image)
class Digits:
    def __init__(self) -> None:
        sys.path.insert(0, str(HERE / "model"))
        import predictor

        self.predictor = predictor
        self.model = predictor.load(HERE / "model")

    @bentoml.api
    def predict(self, inputs: list[list[float]]) -> list[dict[str, Any]]:
        return self.predictor.predict(self.model, inputs)
