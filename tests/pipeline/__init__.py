"""What a run of the pipeline is made of."""
