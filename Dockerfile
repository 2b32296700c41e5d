# The image that the container profiles run: docker build --tag teralign:0.1.0 .
# BASE is any image with apt whose Python is 3.11 or newer; --build-arg BASE=NAME@sha256:DIGEST pins it to the byte.
ARG BASE=python:3.11.14-slim-bookworm

FROM ${BASE} AS system
# Nextflow measures tasks with ps. Slim images of Python lack only that; images of Debian lack Python and certificates, too.
RUN missing=""; \
    command -v ps >/dev/null || missing="procps"; \
    [ -e /etc/ssl/certs/ca-certificates.crt ] || missing="$missing ca-certificates"; \
    command -v python3 >/dev/null || missing="$missing python3"; \
    [ -z "$missing" ] || { \
        apt-get update \
        && apt-get install --yes --no-install-recommends $missing \
        && apt-get clean \
        && rm -rf /var/lib/apt/lists/*; }
RUN useradd --create-home --shell /bin/bash teralign
ENV PATH=/opt/venv/bin:$PATH LANG=C.UTF-8


FROM system AS builder
RUN missing=""; \
    command -v strip >/dev/null || missing="binutils"; \
    python3 -m ensurepip --version >/dev/null 2>&1 || missing="$missing python3-venv"; \
    [ -z "$missing" ] || { apt-get update && apt-get install --yes --no-install-recommends $missing; }
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CONSTRAINT=/opt/teralign/constraints.txt
WORKDIR /opt/teralign

# The libraries, in a layer that changes of the code leave as it is; without their tests, debug symbols and compiled Python.
# Libraries in *.libs were rearranged by auditwheel, after which strip may break them.
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY src/teralign/__init__.py src/teralign/
RUN python3 -m venv /opt/venv \
    && pip install --no-compile '.[hdf5,nifti]' \
    && pip uninstall --yes teralign \
    && cd /opt/venv/lib/python3*/site-packages \
    && find . -type d -name tests -prune -exec rm -r {} + \
    && find . -name '*.so' -not -path '*.libs/*' -exec strip --strip-unneeded {} +

# Layers keep times of files in whole seconds; by the time of its source, compiled code is found to be up to date.
COPY src src
RUN pip install --no-compile --no-deps . \
    && pip uninstall --yes setuptools pip \
    && find /opt/venv/lib/python3*/site-packages/teralign -name '*.py' -exec touch --date="@$(date +%s)" {} +

# The first use of a command compiles the Python that it imports, and kernels for processors like this one: here once, kept
# beside the sources, where tasks find it though the image is read-only. Other processors compile the kernels again.
WORKDIR /tmp
RUN python -c 'import h5py, imagecodecs, nibabel, tifffile, zarr' \
    && make-demo-data --output warm --shape 64,64,64 \
    && global-align --fixed warm/fixed.n5/s1 --moving warm/moving.n5/s1 --output warm/affine.mat \
    && local-align --fixed warm/fixed.n5/s0 --moving warm/moving.n5/s0 --initial-transform warm/affine.mat \
        --output warm/transform.zarr --workers 1 \
    && apply-transform --fixed warm/fixed.n5/s0 --moving warm/moving.n5/s0 --transform warm/transform.zarr \
        --output warm/warped.zarr --workers 1


FROM system
COPY --from=builder /opt/venv /opt/venv
USER teralign
WORKDIR /home/teralign
CMD ["teralign", "--help"]
