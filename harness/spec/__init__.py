"""What the user wrote: models and scenarios read into frozen records, requirements locked, weights made."""
