"""The configuration of an alignment: one YAML file or mapping, strictly checked.

Top level: one section a step (`ransac`, `random`, `rigid`, `affine`, `deform`) with its defaults, and `global_align`
and `local_align`, each with its `steps`, its own values for the steps, and (local) the size of blocks. Lengths are µm
unless a key says voxels; all triples are (z, y, x). The keys of bigstream's configuration are accepted with their
meaning; the log names once those that change nothing here.
"""

from teralign.configuration.config import Config
from teralign.configuration.reading import load_config
from teralign.configuration.sections import SectionName

__all__ = ["Config", "SectionName", "load_config"]
