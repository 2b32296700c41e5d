"""The needs of the alignments of a run, by the plans of the commands, and the memory that the run has for them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from teralign.grids import Triple, as_triple, reverse_axes
from teralign.pipeline.levels import Budget
from teralign.pipeline.lookup import Located, absolute, open_anyhow
from teralign.pipeline.parameters import Parameters, as_text

if TYPE_CHECKING:
    from teralign.cluster import Capacity
    from teralign.configuration import Config, SectionName
    from teralign.registration import StepConfig

_OWN_CORES = 8  # of a task with blocks, where the run starts no cluster (configs/base.config)


def budget_of(parameters: Parameters) -> Budget:
    """Return the budget of a run. Raises InputError for a configuration that cannot be used."""
    from teralign.alignment import alignment_bytes, step_seconds
    from teralign.cluster import GB, Capacity

    config = _config(parameters)
    steps: dict[SectionName, list[StepConfig]] = {
        "global_align": _steps(config, parameters, "global_align"),
        "local_align": _steps(config, parameters, "local_align"),
    }
    alone = Capacity.here(round(_number(parameters, "bigstream_global_align_cpus", 4)))
    workers = _workers(parameters)
    block = math.prod(_block_size(config, parameters))

    def global_seconds(voxels: int) -> float:
        return alone.seconds(step_seconds(steps["global_align"], 1, voxels), 1)

    def local_seconds(voxels: int) -> float:
        blocks = math.ceil(voxels / block)
        return workers.seconds(step_seconds(steps["local_align"], blocks, voxels), blocks)

    memory = round(_number(parameters, "bigstream_global_align_mem_gb", 16) * GB)
    return Budget(memory, alignment_bytes, global_seconds, local_seconds)


def check_worker_memory(parameters: Parameters, fixed: Located) -> None:
    """Raise InputError where the workers of a run are smaller than what a block of the fixed volume takes alone.

    The voxels of the moving volume come on top; the command knows them once it has its initial transform.
    """
    given = parameters.shared("bigstream_worker_mem_gb")
    joins = parameters.shared("dask_scheduler") is not None
    if given is None or joins or not _is_true(parameters, "use_bigstream") or fixed.container is None:
        return
    from teralign.alignment import BlockOptions, fixed_alignment_bytes
    from teralign.cluster import ENDED_AT, GB

    config = _config(parameters)
    if not _steps(config, parameters, "local_align"):
        return
    dataset = fixed.datasets["local"]
    options = BlockOptions(
        _block_size(config, parameters), _number(parameters, "bigstream_block_overlap", config.block_overlap)
    )
    needed, block = fixed_alignment_bytes(open_anyhow(fixed.container, dataset).grid, options)
    has = float(given.text) * GB
    if needed > ENDED_AT * has:
        raise given.refuse(
            f"a block of the local alignment ({block} of {fixed.dataset_uri('local')}) takes more than "
            f"{needed / GB:.2f} GB of memory, but a worker has {has / GB:.2f} GB and is ended at {ENDED_AT:.0%} of "
            "that; give larger workers, or smaller blocks (--bigstream_block_size)."
        )


def skipped_alignments(parameters: Parameters) -> list[str]:
    """Return the alignments, "global" and "local", that have no steps in a run.

    Raises InputError for a configuration that cannot be used.
    """
    config = _config(parameters)
    sections: Mapping[str, SectionName] = {"global": "global_align", "local": "local_align"}
    return [name for name, section in sections.items() if not _steps(config, parameters, section)]


def _config(parameters: Parameters) -> Config:
    """Return the configuration of a run; the built-in one where the file cannot be seen from the head job."""
    from teralign.configuration import load_config

    given = parameters.shared("bigstream_config")
    path = absolute(given.text, given) if given else None
    return load_config(path if path is not None and path.is_file() else None)


def _steps(config: Config, parameters: Parameters, section: SectionName) -> list[StepConfig]:
    value = parameters.values.get(f"bigstream_{section.removesuffix('_align')}_steps")
    if value is None:
        return config.steps(section)
    text = "" if isinstance(value, bool) else as_text(value) or ""
    names = [name.strip() for name in text.split(",") if name.strip()]
    return config.steps(section, names) if names else []


def _workers(parameters: Parameters) -> Capacity:
    from teralign.cluster import Capacity

    if not _is_true(parameters, "use_bigstream"):
        return Capacity(1, _OWN_CORES)
    count = round(_number(parameters, "bigstream_workers", 2))
    return Capacity(count, count * round(_number(parameters, "bigstream_worker_cpus", 1)))


def _block_size(config: Config, parameters: Parameters) -> Triple:
    """Return the size (z, y, x) of a block in voxels."""
    given = parameters.shared("bigstream_block_size")
    sizes = [int(n) for n in re.findall(r"\d+", given.text)] if given else []
    if len(sizes) not in (1, 3):
        return config.block_size
    return as_triple(reverse_axes(sizes * (3 // len(sizes))))


def _number(parameters: Parameters, name: str, default: float) -> float:
    given = parameters.shared(name)
    return float(given.text) if given else default


def _is_true(parameters: Parameters, name: str) -> bool:
    given = parameters.shared(name)
    return given is not None and given.text == "true"
