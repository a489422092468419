"""The model as a Lambda function: ``harness_lambda.handler.handle``. Standard library only."""
