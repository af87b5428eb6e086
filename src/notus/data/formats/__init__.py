"""The shapes that feedback is published in: one reader each, and which one a source has."""
