"""The primitive: log-probabilities of token sequences that share prefixes, each prefix once.

sequences -> TokenTree -> pack -> Forest -> token_logps, sequence_logps -> score
              tree.py              forest.py       logps.py, attention.py    score.py

Training takes fused.py: a loss worked out inside the head.
"""
