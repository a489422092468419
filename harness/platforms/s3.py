"""Amazon's object store: a file in a new bucket of an account."""

from __future__ import annotations

from pathlib import Path

from harness.platforms import aws
from harness.platforms.aws import Account
from harness.platforms.aws_kinds import listed_tags


def put(account: Account, file: Path, *, name: str) -> tuple[str, str]:
    """The new bucket ``name``, tagged, and the key that the file has in it. BuildFailure where AWS refuses."""
    # The oldest region is the one that must not be named: docs.aws.amazon.com/AmazonS3/latest/API, CreateBucket.
    where = {} if account.region == "us-east-1" else {"LocationConstraint": account.region}
    more = {"CreateBucketConfiguration": where} if where else {}
    account.make("bucket", name, lambda s3: s3.create_bucket(Bucket=name, **more))
    s3 = account.client("s3")
    with aws.asking(f"uploading {file.name} to the bucket {name}"), file.open("rb") as content:
        s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": listed_tags(account.tags)})
        s3.put_object(Bucket=name, Key=file.name, Body=content)
    return name, file.name
