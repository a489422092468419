"""The FastAPI application: ``POST /predict``, a form page at ``/``, OpenAPI at ``/openapi.json``."""

import html
import json
import re
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from harness_runner.packaged import ENTRYPOINT
from pydantic import BaseModel

FOLDER = Path(__file__).parent


class Question(BaseModel):
    """What is asked: a list of inputs, each as the model takes them."""

    inputs: list[Any]


class Answers(BaseModel):
    """What is answered: one output for each input."""

    outputs: list[Any]


def create(runner: Any) -> FastAPI:
    """The application around ``runner``; the model is loaded here, once.

    A model that cannot be loaded answers every prediction with the reason, so that whoever waits learns it.
    """
    about = json.loads((FOLDER / "about.json").read_text(encoding="utf-8"))
    # No /docs: FastAPI's page loads its scripts from another host. The form page and /openapi.json need none.
    shown = {"title": about["name"], "version": about["version"], "description": about["description"]}
    app = FastAPI(**shown, docs_url=None, redoc_url=None)
    try:
        predict, broken = runner.load(runner.PACKAGED, ENTRYPOINT), None
    except Exception as error:
        predict, broken = None, runner.described(error, "load")

    @app.exception_handler(RequestValidationError)
    def wrong(request: Request, error: RequestValidationError) -> JSONResponse:
        """What is wrong and where, without what was sent: that may be long, or nested too deeply to be sent back."""
        told = [{key: one[key] for key in ("type", "loc", "msg")} for one in error.errors()]
        return JSONResponse({"detail": told}, status_code=422)

    # `def`, not `async def`: a prediction computes, so it belongs in a worker thread, not in the event loop.
    @app.post("/predict", response_model=Answers, responses={500: {"description": "the model failed"}})
    def answer(question: Question) -> Any:
        """Ask the model."""
        if predict is None:
            return JSONResponse({"error": broken}, status_code=500)
        try:
            return JSONResponse({"outputs": predict(question.inputs)})
        except Exception as error:
            return JSONResponse({"error": runner.described(error, "predict")}, status_code=500)

    @app.get("/healthz")
    def health() -> Any:
        """200 when the model is loaded."""
        return JSONResponse({"ready": predict is not None}, status_code=200 if predict else 503)

    @app.get("/runtime", include_in_schema=False)
    def runtime() -> Any:
        """What the harness asks for: facts and phase stamps."""
        return JSONResponse({"facts": runner.facts(), "stamps": runner.stamps})

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    def page(request: Request) -> str:
        """A form for people without code."""
        text = (FOLDER / "page.html").read_text(encoding="utf-8")
        shown = {
            "name": about["name"],
            "description": about["description"],
            "example": json.dumps(about["example"]),
        }
        # In one go: what a description says must not be taken for a placeholder.
        return re.sub(r"\{\{(\w+)\}\}", lambda found: html.escape(shown[found[1]]), text)

    return app
