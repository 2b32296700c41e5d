"""Schedulers of jobs on this machine alone: real ones of Debian's packages, and commands in place of others."""
