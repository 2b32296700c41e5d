"""Feed readers of headers, tables and configurations with bytes that atheris finds by the branches that they reach.

    python tests/fuzz_headers.py [--seconds 60] [--only READER …]

atheris comes with `pip install -e '.[fuzz]'`; without it nothing is done. What Python reads is tried here, in a
process for each reader; `fuzz.py` has the formats that libraries read. A reader may raise errors for users and no
others; an input that ends otherwise is kept in `build/fuzz/`. Ends with `N readers, M faults`.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

KEPT = Path(__file__).parents[1] / "build" / "fuzz"
_MEMORY = 4000  # MB


@dataclass(frozen=True)
class Reader:
    """A good input by the name of its seed, the file of it that changes, and the function that reads it."""

    seed: str
    file: str
    read: Callable[[Path], object]


def readers() -> dict[str, Reader]:
    """Return the readers by name; those of volumes read the file in a volume that is good otherwise."""
    from teralign.configuration.yaml_file import YamlFile
    from teralign.pipeline.samplesheet import read_samplesheet
    from teralign.transforms import Affine, elastix
    from teralign.transforms.point_tables import read_point_table
    from teralign.volumes import open_volume

    def opened(inside: str) -> Callable[[Path], object]:
        return lambda folder: open_volume(folder / inside, spacing=(1, 1, 1))

    return {
        "yaml": Reader("yaml", "config.yml", lambda folder: YamlFile.read(folder / "config.yml")),
        "samplesheet": Reader("samplesheet", "pairs.csv", lambda folder: read_samplesheet(folder / "pairs.csv")),
        "points": Reader("points", "points.csv", lambda folder: read_point_table(folder / "points.csv")),
        "affine": Reader("points", "affine.mat", lambda folder: Affine.from_file(folder / "affine.mat")),
        "elastix": Reader(
            "affine-elastix",
            "TransformParameters.0.txt",
            lambda folder: elastix.read_parts(folder / "TransformParameters.0.txt"),
        ),
        "n5": Reader("n5", "image.n5/raw/attributes.json", opened("image.n5/raw")),
        "zarr-v2": Reader("ome-zarr-0.4", "image.zarr/s0/.zarray", opened("image.zarr")),
        "ome-zarr": Reader("ome-zarr-0.6", "image.zarr/zarr.json", opened("image.zarr")),
        "precomputed": Reader("precomputed", "image/info", opened("image")),
        "nrrd": Reader("nhdr", "image.nhdr", opened("image.nhdr")),
        "metaimage": Reader("metaimage", "apart.mhd", opened("apart.mhd")),
        "nifti": Reader("nifti", "image.nii", opened("image.nii")),
    }


def explore(name: str, folder: Path, seconds: int) -> None:
    """Run libFuzzer on a reader, in this process, which ends with it."""
    import atheris

    with atheris.instrument_imports(include=["teralign", "yaml"]):
        from hostile.seeds import SEEDS
        from teralign.errors import TeralignError

        reader = readers()[name]
    volume, corpus = folder / "volume", folder / "corpus"
    for made in (volume, corpus):
        made.mkdir()
    SEEDS[reader.seed].write(volume)
    (corpus / "good").write_bytes((volume / reader.file).read_bytes())

    def once(content: bytes) -> None:
        (volume / reader.file).write_bytes(content)
        with contextlib.suppress(TeralignError):
            reader.read(volume)

    options = [f"-max_total_time={seconds}", f"-rss_limit_mb={_MEMORY}", "-timeout=30", "-max_len=8192"]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={KEPT}/{name}-", str(corpus)], once)
    atheris.Fuzz()


def main() -> None:
    """Run all readers in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60, help="for each reader")
    parser.add_argument("--only", nargs="*", choices=sorted(readers()))
    parser.add_argument("--explore", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed; pip install -e '.[fuzz]'")
        return
    KEPT.mkdir(parents=True, exist_ok=True)
    if options.explore:
        with tempfile.TemporaryDirectory() as folder:
            explore(options.explore, Path(folder), options.seconds)
        return
    faults = 0
    chosen = options.only or list(readers())
    for name in chosen:
        command = [sys.executable, __file__, "--explore", name, "--seconds", str(options.seconds)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
        if done.returncode:
            faults += 1
            print(f"{name}: {done.stderr[-2000:]}", flush=True)
    print(f"{len(chosen)} readers, {faults} faults")
    sys.exit(faults > 0)


if __name__ == "__main__":
    main()
