"""What a row of numbers says of an example: the border between objectives and statistics."""

COLUMNS = (
    "loss",
    "chosen_reward",
    "rejected_reward",
    "chosen_logps",
    "rejected_logps",
    "reference_chosen",
    "reference_rejected",
    "chosen_tokens",
    "rejected_tokens",
)
"""Log-probs are sums over a completion, in nats; tokens are those scored. A vote fills one side,
chosen if it is desirable, and has NaN on the other; a demonstration fills chosen; references that
nobody needs are NaN."""
