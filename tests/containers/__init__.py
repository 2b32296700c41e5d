"""Containers: the image is built of the Dockerfile itself, and the workflow runs in it."""
