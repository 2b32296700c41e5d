"""What must survive: commands and whole runs that are killed at random moments, on one machine and on schedulers."""
