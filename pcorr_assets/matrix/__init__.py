"""The matrix room: from the BPB of single LLMs, or published CSV files, to what statistics need.

Belongs here: who is in the matrix and who is not, the NaN mask, aggregation of chunks
to pages and domains, the layout of `bpb_matrix`, the import of published matrices and
the error vector of a target. Does not belong here: scoring or evaluating LLMs (`lm`),
estimates and verdicts (`stats`), and anything that knows Dagster.
"""

from pcorr_assets.matrix.assemble import AssembledMatrix, assemble
from pcorr_assets.matrix.errors import Alignment, ErrorVector, align, error_vector
from pcorr_assets.matrix.identity import Identity, identify, parse_column
from pcorr_assets.matrix.imports import ImportedMatrix, import_published
from pcorr_assets.matrix.layout import MatrixView, read_matrix
from pcorr_assets.matrix.mask import NanMask, nan_mask

__all__ = [
    "Alignment",
    "AssembledMatrix",
    "ErrorVector",
    "Identity",
    "ImportedMatrix",
    "MatrixView",
    "NanMask",
    "align",
    "assemble",
    "error_vector",
    "identify",
    "import_published",
    "nan_mask",
    "parse_column",
    "read_matrix",
]
