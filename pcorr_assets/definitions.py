"""What Dagster loads: the definitions of the configuration that `PCORR_CONFIG` names.

Belongs here: the one entry point, free of side effects and heavy imports. Does not
belong here: any definition itself (see `defs`).
"""

from pcorr_assets.config import find_config, load_settings
from pcorr_assets.defs.build import build_definitions

defs = build_definitions(load_settings(find_config()))
