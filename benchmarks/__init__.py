"""What Teralign and its peers reach on the same input: `python -m benchmarks --help`."""
