"""The verbs of the command line, by half: what each takes, and which stage it calls.

`notus.cli` gathers them. Stages are imported inside the verbs, so that `notus --help` is quick.
"""
