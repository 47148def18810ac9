"""Objectives that were written for another tool -> definitions, and a report on what changed in meaning.

Start with `importing.py`.
"""
