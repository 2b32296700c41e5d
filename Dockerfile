# The image that the container profiles run: docker build -t teralign:0.1.0 .
FROM python:3.11-slim

# Nextflow measures tasks with ps.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends procps \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/teralign
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY src src
RUN pip install --no-cache-dir --constraint constraints.txt '.[hdf5,nifti]'

# Kernels are compiled on first use: here once, for processors like this one. On other processors they are compiled again, by
# the user that the container runs as.
ENV NUMBA_CACHE_DIR=/var/cache/teralign
WORKDIR /tmp
RUN make-demo-data --output warm --shape 64,64,64 \
    && global-align --fixed warm/fixed.n5/s1 --moving warm/moving.n5/s1 --output warm/affine.mat \
    && local-align --fixed warm/fixed.n5/s0 --moving warm/moving.n5/s0 --initial-transform warm/affine.mat \
        --output warm/transform.zarr --workers 1 \
    && apply-transform --fixed warm/fixed.n5/s0 --moving warm/moving.n5/s0 --transform warm/transform.zarr \
        --output warm/warped.zarr --workers 1 \
    && rm -r warm \
    && chmod -R a+rwX "$NUMBA_CACHE_DIR"

CMD ["teralign", "--help"]
