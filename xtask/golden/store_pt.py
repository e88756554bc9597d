"""Makes crates/difusi-store/tests/data: small PyTorch files of every kind, and the numbers PyTorch reads from them.

Needs torch, safetensors and numpy. Usage: python xtask/golden/store_pt.py
"""

import argparse
import collections
import os
import pathlib

import numpy
import torch
from safetensors.torch import save_file

OUT = pathlib.Path(__file__).resolve().parents[2] / "crates/difusi-store/tests/data"
OUT.mkdir(parents=True, exist_ok=True)
torch.manual_seed(0)
# Storages tagged as a GPU's, on a machine without one.
torch.serialization.register_package(0, lambda storage: "cuda:0", lambda storage, location: storage)

base = torch.arange(24, dtype=torch.float32)
layer = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
optimizer = torch.optim.Adam(layer.parameters(), lr=1e-3)
layer(torch.randn(4, 3)).square().sum().backward()
optimizer.step()
kinds = ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"]
value = {
    "model": layer.state_dict(),
    "views": {
        "base": base,
        "tail": base[7:],
        "matrix": base.view(4, 6),
        "transposed": base.view(4, 6).t(),
        "strided": base.view(2, 3, 4)[:, ::2, 1:3],
        "permuted": base.view(2, 3, 4).permute(2, 0, 1),
        "expanded": base[:3].view(3, 1).expand(3, 5),
        "scalar": base[5],
        "empty": base[:0].view(0, 7),
    },
    "kinds": {kind: torch.tensor([[0, 1], [2, 3]]).to(getattr(torch, kind)) for kind in kinds},
    "parameter": torch.nn.Parameter(torch.randn(2, 2)),
    "opt": optimizer.state_dict(),
    "ema": collections.OrderedDict([("ema_model.0.weight", torch.randn(2, 3)), ("step", torch.tensor(5))]),
    "step": 7,
    "large": 2**40 + 1,
    "negative": -(2**33),
    "ratio": 0.125,
    "flag": True,
    "none": None,
    "version": "2.3.4",
    "unicode": "Grüße",
    "size": torch.Size([1, 2]),
    "device": torch.device("cuda:0"),
    "dtype": torch.float16,
    "numpy": numpy.float64(1.5),
    "list": [1, [2, (3, 4, 5, 6)]],
    "empties": [[], (), {}],
    "bytes": b"\x00\xff",
}


def flatten(value, name=""):
    items = None
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, (list, tuple)):
        items = enumerate(value)
    if items is not None:
        for key, inner in items:
            yield from flatten(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, torch.Tensor):
        yield name, value.detach().clone().contiguous()


torch.save(value, OUT / "zip.pt")
torch.save(value, OUT / "zip_protocol4.pt", pickle_protocol=4)
torch.save(value, OUT / "legacy.pt", _use_new_zipfile_serialization=False)
save_file(dict(flatten(value)), OUT / "values.safetensors")


class Hostile:
    def __reduce__(self):
        return os.system, ("touch hostile-was-here",)


torch.save({"weight": base, "x": Hostile()}, OUT / "hostile.pt")
torch.save({"args": argparse.Namespace(lr=1.0)}, OUT / "namespace.pt", _use_new_zipfile_serialization=False)
torch.save(layer, OUT / "module.pt")
for path in sorted(OUT.iterdir()):
    print(path.name, path.stat().st_size)
