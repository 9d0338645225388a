"""Packages of other programs: read, judged and run."""
