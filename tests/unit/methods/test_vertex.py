"""What tells the Vertex AI method from other images."""

from __future__ import annotations

from harness.methods import platform_server, vertex


def test_predictions_are_outputs_and_errors_stay_errors() -> None:
    """The harness asks in its own words; the contract's are used on the way."""
    assert vertex.HTTP.ask([1, 2]) == {"instances": [1, 2]}
    assert vertex.HTTP.outputs({"predictions": [3]}) == {"outputs": [3]}
    failed = {"error": {"type": "ValueError"}}
    assert vertex.HTTP.outputs(failed) == failed
    assert vertex.HTTP.outputs("rubbish") == "rubbish"


def test_facts_are_asked_for_where_predictions_are() -> None:
    """The platform has no other route."""
    verb, path, body = vertex.HTTP.request({"facts": True})
    assert (verb, path, body) == ("POST", vertex.ENVIRONMENT["AIP_PREDICT_ROUTE"], b'{"facts": true}')


def test_the_container_gets_what_the_platform_sets() -> None:
    """Port and routes, and no artifacts: the model is in the image."""
    assert {"AIP_HTTP_PORT", "AIP_HEALTH_ROUTE", "AIP_PREDICT_ROUTE", "AIP_STORAGE_URI"} <= set(vertex.ENVIRONMENT)
    assert vertex.ENVIRONMENT["AIP_STORAGE_URI"] == ""
    assert vertex.RECIPE.model
    assert vertex.RECIPE.packages == (platform_server.FOLDER, platform_server.BOUNDS)
    assert (platform_server.FOLDER / f"{vertex.RECIPE.module.rpartition('.')[2]}.py").is_file()


def test_limits_have_a_source_and_a_date() -> None:
    """None of them is a size of the image, which Vertex AI does not limit."""
    assert all(limit.source and limit.read_on and not limit.metric for limit in vertex.LIMITS)
