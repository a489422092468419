"""The hand-written service: FastAPI, the model loaded once when the process starts."""

from pathlib import Path
from typing import Any

import predictor
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()
model = predictor.load(Path(__file__).parent / "model")


class Question(BaseModel):
    inputs: list[list[float]]


@app.post("/predict")
def predict(question: Question) -> dict[str, Any]:
    return {"outputs": predictor.predict(model, question.inputs)}
