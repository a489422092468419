"""The kinds of things that the harness makes in an AWS account: how each is found, recognised, listed and deleted.

Nothing is deleted by its name alone: what is asked first is whether it carries the tag of the run that made it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

#: On everything that is made, with the run that made it.
TAG = "ml-packaging-harness"

#: What every name begins with.
PREFIX = "mlph-"

_ABSENT = frozenset(
    {
        *("404", "NoSuchBucket", "NoSuchTagSet", "NoSuchEntity", "NotFound"),
        *("RepositoryNotFoundException", "ResourceNotFoundException", "ResourceNotFound"),
    }
)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of thing. ``tags`` gives None where there is none of that name; ``names`` those beginning with a prefix.

    ``delete`` may raise where it is not there (any more).
    """

    service: str
    title: str
    tags: Callable[[Any, str], Mapping[str, str] | None]
    delete: Callable[[Any, str], None]
    names: Callable[[Any, str], Iterator[str]]


def absent(error: Exception) -> bool:
    """Whether AWS says that what was asked for is not there."""
    said = getattr(error, "response", {}).get("Error", {})
    return said.get("Code") in _ABSENT or (
        said.get("Code") == "ValidationException" and "could not find" in str(said.get("Message", "")).lower()
    )


def listed_tags(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags as most services take them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _as_table(tags: Any) -> dict[str, str]:
    return {entry["Key"]: entry["Value"] for entry in tags or []}


def _pages(client: Any, operation: str, listed: str, name: str, **asked: Any) -> Iterator[str]:
    """The names in every page of a list."""
    for page in client.get_paginator(operation).paginate(**asked):
        yield from (entry[name] for entry in page.get(listed, []))


def _beginning(prefix: str, names: Iterator[str]) -> Iterator[str]:
    return (name for name in names if name.startswith(prefix))


# --- Lambda, S3, logs ----------------------------------------------------------------------------


def _function_tags(client: Any, name: str) -> Mapping[str, str]:
    return dict(client.get_function(FunctionName=name).get("Tags") or {})


def _bucket_tags(client: Any, name: str) -> Mapping[str, str]:
    client.head_bucket(Bucket=name)
    try:
        return _as_table(client.get_bucket_tagging(Bucket=name)["TagSet"])
    except client.exceptions.ClientError as error:
        if absent(error):
            return {}  # it is there, without tags
        raise


def _delete_bucket(client: Any, name: str) -> None:
    """A bucket has to be empty; what is in it was put there by the run that made it."""
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=name):
        keys = [{"Key": entry["Key"]} for entry in page.get("Contents", [])]
        if keys:
            failed = client.delete_objects(Bucket=name, Delete={"Objects": keys, "Quiet": True}).get("Errors", [])
            if failed:
                raise RuntimeError(f"{len(failed)} of its objects can't be deleted: {failed[0].get('Message', '')}")
    client.delete_bucket(Bucket=name)


def _bucket_names(client: Any, prefix: str) -> Iterator[str]:
    return _beginning(prefix, (entry["Name"] for entry in client.list_buckets().get("Buckets", [])))


def _log_group_tags(client: Any, name: str) -> Mapping[str, str] | None:
    for group in client.describe_log_groups(logGroupNamePrefix=name).get("logGroups", []):
        if group["logGroupName"] == name:
            arn = str(group["arn"]).removesuffix(":*")
            return dict(client.list_tags_for_resource(resourceArn=arn).get("tags") or {})
    return None


def _log_group_names(client: Any, prefix: str) -> Iterator[str]:
    found = _pages(client, "describe_log_groups", "logGroups", "logGroupName")
    return (name for name in found if name.rpartition("/")[2].startswith(prefix))


# --- IAM, ECR ------------------------------------------------------------------------------------


def _role_tags(client: Any, name: str) -> Mapping[str, str]:
    return _as_table(client.list_role_tags(RoleName=name)["Tags"])


def _delete_role(client: Any, name: str) -> None:
    for policy in client.list_role_policies(RoleName=name)["PolicyNames"]:
        client.delete_role_policy(RoleName=name, PolicyName=policy)
    for attached in client.list_attached_role_policies(RoleName=name)["AttachedPolicies"]:
        client.detach_role_policy(RoleName=name, PolicyArn=attached["PolicyArn"])
    client.delete_role(RoleName=name)


def _repository_tags(client: Any, name: str) -> Mapping[str, str]:
    arn = client.describe_repositories(repositoryNames=[name])["repositories"][0]["repositoryArn"]
    return _as_table(client.list_tags_for_resource(resourceArn=arn)["tags"])


# --- SageMaker -----------------------------------------------------------------------------------


def _sagemaker(title: str, operation: str, parameter: str, arn: str, listed: str) -> Kind:
    """SageMaker's models, endpoint configurations and endpoints are alike."""

    def tags(client: Any, name: str) -> Mapping[str, str]:
        found = getattr(client, f"describe_{operation}")(**{parameter: name})
        return _as_table(client.list_tags(ResourceArn=found[arn])["Tags"])

    return Kind(
        service="sagemaker",
        title=title,
        tags=tags,
        delete=lambda client, name: getattr(client, f"delete_{operation}")(**{parameter: name}),
        names=lambda client, prefix: _beginning(prefix, _pages(client, f"list_{operation}s", listed, parameter)),
    )


KINDS: dict[str, Kind] = {
    "function": Kind(
        service="lambda",
        title="Lambda function",
        tags=_function_tags,
        delete=lambda client, name: client.delete_function(FunctionName=name),
        names=lambda client, prefix: _beginning(prefix, _pages(client, "list_functions", "Functions", "FunctionName")),
    ),
    "bucket": Kind(service="s3", title="S3 bucket", tags=_bucket_tags, delete=_delete_bucket, names=_bucket_names),
    "log-group": Kind(
        service="logs",
        title="CloudWatch log group",
        tags=_log_group_tags,
        delete=lambda client, name: client.delete_log_group(logGroupName=name),
        names=_log_group_names,
    ),
    "role": Kind(
        service="iam",
        title="IAM role",
        tags=_role_tags,
        delete=_delete_role,
        names=lambda client, prefix: _beginning(prefix, _pages(client, "list_roles", "Roles", "RoleName")),
    ),
    "repository": Kind(
        service="ecr",
        title="ECR repository",
        tags=_repository_tags,
        delete=lambda client, name: client.delete_repository(repositoryName=name, force=True),
        names=lambda client, prefix: _beginning(
            prefix, _pages(client, "describe_repositories", "repositories", "repositoryName")
        ),
    ),
    "model": _sagemaker("SageMaker model", "model", "ModelName", "ModelArn", "Models"),
    "endpoint-config": _sagemaker(
        "SageMaker endpoint configuration",
        "endpoint_config",
        "EndpointConfigName",
        "EndpointConfigArn",
        "EndpointConfigs",
    ),
    "endpoint": _sagemaker("SageMaker endpoint", "endpoint", "EndpointName", "EndpointArn", "Endpoints"),
}


def role_policy(service: str) -> str:
    """Who may take a role on: the service alone (``lambda``, ``sagemaker``)."""
    statement = {"Effect": "Allow", "Principal": {"Service": f"{service}.amazonaws.com"}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
