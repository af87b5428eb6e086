"""Feedback as tables: their schemas and rules, and how a source becomes them.

files (rows of whatever a source holds) -> formats (what a row says) -> sources.ingest
                                                                     -> schema tables on disk
                                                                     -> refused, with reasons
schema tables -> exports (the schemas of other tools)
"""
