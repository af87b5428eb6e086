"""Feedback as tables: their schemas and rules, the readers that fill them, the writers.

source file -> sources.ingest -> ultrafeedback.parse | pairs.parse -> schema tables on disk
                                                                   -> refused rows, with reasons
schema tables -> export.to_ultrafeedback -> rows in the raw UltraFeedback schema
"""
