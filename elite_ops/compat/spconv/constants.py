"""Switches that code sets on `spconv.constants`. Only the last two change anything here."""

from __future__ import annotations

import os

FILTER_HWIO = False
ALL_WEIGHT_IS_KRSC = True
SPCONV_USE_DIRECT_TABLE = True
SPCONV_ALLOW_TF32 = False
SPCONV_DO_SORT = True
SPCONV_CPP_INDICE_PAIRS = True
SPCONV_CPP_INDICE_PAIRS_IGEMM = False
SPCONV_CPP_GEMM = True
SPCONV_FX_TRACE_MODE = False
SPCONV_INT8_DEBUG = False
SPCONV_DEBUG_SAVE_PATH = ""

# The layout of the weights in a checkpoint, where its shapes fit several: "KRSC" (spconv 2.2 and
# later), "RSKC" (2.0 and 2.1) or "RSCK" (1.x). "": told apart by shape; of several, this order.
SAVED_WEIGHT_LAYOUT = os.environ.get("SPCONV_SAVED_WEIGHT_LAYOUT", "")

# Whether a submanifold convolution takes the map of its `indice_key` even if that was built for
# another kernel of as many offsets or fewer, as spconv 1.x did; some of its weights need that.
LEGACY_INDICE_REUSE = False
