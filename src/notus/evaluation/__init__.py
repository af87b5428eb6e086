"""Evaluation: answers to verifiable prompts, ranking of preferences, paired comparisons."""
