"""Judge MNIST samples with a trained MNIST CNN: share of confident samples, class balance, Frechet distance of 32-d features.

    python3 -m venv judge && judge/bin/pip install numpy scipy safetensors pillow torch
    difusi sample runs/mnist -n 1000 -o samples.npz
    judge/bin/python xtask/judge/mnist_judge.py samples.npz --data ../shared/data --panel nearest.png

Prints one JSON line. conf9: share of samples whose top softmax is 0.9 or more (real test images: 0.975). fid32: Frechet distance
between the 32-d layer on the samples and on the 10,000 test images, sample covariances (train against test images: 1.06).
--panel draws samples (left of each pair) beside their nearest training image in pixels (right).
"""
import argparse
import json

import numpy as np
import torch
from PIL import Image

from mnist_features import Judge, frechet

parser = argparse.ArgumentParser()
parser.add_argument("samples", help="npz with arr_0 uint8 [N, 28, 28, 1]")
parser.add_argument("--data", default="../shared/data")
parser.add_argument("--panel", help="PNG to write")
args = parser.parse_args()

judge = Judge(args.data)


def panel(images, train, rows=8, columns=8):
    """Samples beside their nearest training images."""
    flat = torch.from_numpy(train.reshape(len(train), -1).astype(np.float32))
    chosen = images[: rows * columns]
    distance = torch.cdist(torch.from_numpy(chosen.reshape(len(chosen), -1).astype(np.float32)), flat)
    nearest = distance.argmin(1).numpy()
    sheet = np.full((rows * 30, columns * 62), 90, np.uint8)
    for i, (image, j) in enumerate(zip(chosen, nearest)):
        y, x = 30 * (i // columns) + 1, 62 * (i % columns) + 1
        sheet[y : y + 28, x : x + 28] = image
        sheet[y : y + 28, x + 29 : x + 57] = train[j]
    Image.fromarray(sheet).resize((sheet.shape[1] * 2, sheet.shape[0] * 2), Image.NEAREST).save(args.panel)
    return float(distance.min(1).values.median())


samples = np.load(args.samples)["arr_0"]
assert samples.dtype == np.uint8 and samples.shape[1:] == (28, 28, 1), f"{samples.dtype} {samples.shape}"
samples = samples[..., 0]
features, p = judge.features(samples)
test_features, _ = judge.features(judge.read_idx("t10k"))
result = dict(
    samples=len(samples),
    conf9=float((p.max(1) >= 0.9).mean()),
    fid32=frechet(features, test_features),
    classes=np.bincount(p.argmax(1), minlength=10).tolist(),
)
if args.panel:
    train = judge.read_idx("train")
    result["nearest_train_l2_median"] = panel(samples, train)
    test = judge.read_idx("t10k")[:64]
    flat = torch.from_numpy(train.reshape(len(train), -1).astype(np.float32))
    real = torch.cdist(torch.from_numpy(test.reshape(64, -1).astype(np.float32)), flat)
    result["nearest_train_l2_median_of_test_images"] = float(real.min(1).values.median())
print(json.dumps(result))
