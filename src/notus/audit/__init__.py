"""Audits of feedback: named rules that turn tables into issues, without changing a row."""
