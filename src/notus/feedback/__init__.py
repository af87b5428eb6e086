"""AI feedback that needs nobody: prompts with known constraints, and ratings by checking them.

    families.make_prompts  ->  generate  ->  rubrics.rate(text, metadata, finished)
    wordings x cases           a model       verifiable.verify -> verdicts -> ratings, critique

Everything but `generate` is pure: the same prompt and answer get the same ratings and critique.
"""
