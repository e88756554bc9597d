"""Makes crates/difusi-store/assets/labels.ttf: the glyphs that charts and labels need, out of DejaVu Sans 2.37.

Needs fonttools. Usage: python xtask/golden/store_font.py path/to/DejaVuSans.ttf
The licence of DejaVu Sans (assets/labels-LICENSE.txt) allows modified copies under a name without "Bitstream" and "Vera".
"""

import pathlib
import sys

from fontTools import subset

OUT = pathlib.Path(__file__).resolve().parents[2] / "crates/difusi-store/assets/labels.ttf"
RANGES = [
    (0x20, 0x7E),  # ASCII
    (0xA0, 0xFF),  # Latin-1
    (0x391, 0x3C9),  # Greek
    (0x304, 0x304),  # combining macron: alpha-bar
    (0x302, 0x303),  # combining hat and tilde
    (0x2013, 0x2014),  # dashes
    (0x2018, 0x201D),  # quotes
    (0x2026, 0x2026),  # ellipsis
    (0x2070, 0x208E),  # superscripts and subscripts
    (0x2090, 0x209C),  # subscript letters: x_t
    (0x2190, 0x2193),  # arrows
    (0x2202, 0x2202),  # partial derivative
    (0x2207, 0x2207),  # nabla
    (0x2211, 0x2211),  # sum
    (0x2212, 0x2212),  # minus
    (0x221A, 0x221A),  # root
    (0x221D, 0x221E),  # proportional, infinity
    (0x2225, 0x2225),  # parallel: KL(q || p)
    (0x222B, 0x222B),  # integral
    (0x2248, 0x2248),  # about
    (0x2260, 0x2265),  # not equal, less or equal
]

options = subset.Options()
options.hinting = False
options.layout_features = []
options.legacy_kern = True
options.drop_tables += ["GPOS", "GSUB", "GDEF", "FFTM"]
options.name_IDs = [0, 1, 2, 3, 4, 5, 6, 13]
font = subset.load_font(sys.argv[1], options)
subsetter = subset.Subsetter(options)
subsetter.populate(unicodes=[u for a, b in RANGES for u in range(a, b + 1)])
subsetter.subset(font)
subset.save_font(font, OUT, options)
print(OUT, OUT.stat().st_size, "bytes")
