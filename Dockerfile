# The image that the container profiles run: docker build -t teralign:0.1.0 .
FROM python:3.11-slim

# ps is what Nextflow measures tasks with.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends procps \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/teralign
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY src src
RUN pip install --no-cache-dir --constraint constraints.txt .

# Kernels are compiled on first use, by whichever user the container runs as.
RUN mkdir -m 1777 /var/cache/teralign
ENV NUMBA_CACHE_DIR=/var/cache/teralign

WORKDIR /tmp
CMD ["teralign", "--help"]
