"""One function a verb: read what the stage needs, call the room that does the work, write tables.

    data      audit, binarize, export       feedback  write_prompts, generate, rate
    model     base, train, answers, compare

Every stage returns its finished directory; a directory that fits is reused.
"""
