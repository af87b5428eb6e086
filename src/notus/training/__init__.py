"""Training: pairs as token trees, losses, the preference trainer, the stage that runs it."""
