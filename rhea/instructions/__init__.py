"""Instructional Memory: find standing rules in the user's own words, supersede and revoke them."""
