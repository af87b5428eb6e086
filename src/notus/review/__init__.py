"""People's rulings on a data set: taken down, replayed onto its tables, and compared.

    decide -> decisions.sqlite (append-only) -> current -> settle -> replay -> applied tables
                                                        `-> agreement: kappa, alpha

A ruling never edits a row. It is a row itself, with a reviewer and a time; an undo is one more row.
"""
