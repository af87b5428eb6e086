"""notus: from raw AI feedback to an aligned, evaluated, documented chat model, data first."""
