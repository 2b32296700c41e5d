"""The commands: each file parses one command line, calls one function of `teralign.tasks`, and prints its result."""
