"""Instructional Memory: find standing rules in the user's own words, supersede and revoke them.

Read `detect.py` first; `in_force.py` says which rules bind a turn and how they are placed in the prompt.
"""
