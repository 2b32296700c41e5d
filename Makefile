# make env, demo, test, bench, lint, torture, clean:
	rm -rf demo results work .nextflow .nextflow.log* .pytest_cache .mypy_cache .ruff_cache .hypothesis
