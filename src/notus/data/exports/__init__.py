"""Feedback and preferences in the schemas of other tools."""
