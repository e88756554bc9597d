"""Golden values of difusi-metrics by pytorch-fid 0.3.0 and torch-fidelity 0.4.0.

    python -m venv peer && peer/bin/pip install torch scipy pytorch-fid torch-fidelity==0.4.0 --no-deps numpy safetensors
    OMP_NUM_THREADS=1 peer/bin/python xtask/golden/metrics_golden.py MNIST_FOLDER crates/difusi-metrics/tests/golden

MNIST_FOLDER holds the four idx files, gzipped or not. Cases: `random` (normal features whose mean and scale differ between the sides),
`mnist` (7x7 pooled pixels of training and test images, blurred on one side: variances from 0 upwards, so of no full rank). The peers get
the features as doubles, since KID is a small difference of large sums. Each case has the peers' statistics files beside it.
"""

import gzip
import struct
import sys
from pathlib import Path

import numpy as np
import torch
from pytorch_fid.fid_score import calculate_frechet_distance
from safetensors.numpy import save_file
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kernel_mmd, kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

SUBSETS, SIZE = 8, 60


def idx(folder, name):
    path = Path(folder) / name
    data = path.read_bytes() if path.exists() else gzip.open(f"{path}.gz").read()
    rank = data[3]
    shape = struct.unpack(f">{rank}I", data[4 : 4 + 4 * rank])
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape)


def pooled(images):
    return images.reshape(-1, 7, 4, 7, 4).mean((2, 4)).reshape(len(images), 49) / 255.0


def blurred(images):
    padded = np.pad(images.astype(np.float64), ((0, 0), (1, 1), (1, 1)))
    return sum(padded[:, y : y + 28, x : x + 28] for y in range(3) for x in range(3)) / 9


def cases(folder):
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(32, 32)) / 6
    yield "random", rng.normal(size=(300, 32)) @ mix + 0.1, rng.normal(size=(260, 32)) * 1.1 @ mix
    train, test = idx(folder, "train-images-idx3-ubyte"), idx(folder, "t10k-images-idx3-ubyte")
    yield "mnist", pooled(blurred(test[:400])), pooled(train[:350])


def kid_subsets(a, b, rng):
    """As kid_features_to_metric draws them."""
    draw = lambda x: rng.choice(len(x), SIZE, replace=False)
    return [(draw(a), draw(b)) for _ in range(SUBSETS)]


def golden(a, b, rng):
    """What the peers say of drawn features `a` against `b`."""
    a, b = a.astype(np.float32), b.astype(np.float32)
    wide = a.astype(np.float64), b.astype(np.float64)
    moments = [(x.mean(0), np.cov(x, rowvar=False)) for x in wide]
    fid = calculate_frechet_distance(*moments[0], *moments[1])
    tensors = [torch.from_numpy(x) for x in wide]
    settings = dict(kid_subsets=SUBSETS, kid_subset_size=SIZE, rng_seed=2020, verbose=False)
    kid = kid_features_to_metric(*tensors, **settings)
    subsets = kid_subsets(*wide, np.random.RandomState(2020))
    each = [kernel_mmd(wide[0][i], wide[1][j]) for i, j in subsets]
    assert np.mean(each) == kid["kernel_inception_distance_mean"]
    prc = prc_features_to_metric(*tensors, prc_neighborhood=3, prc_batch_size=10000, verbose=False)
    logits = 2 * rng.normal(size=(400, 12))
    probabilities = torch.from_numpy(logits).softmax(1).float().numpy()
    # Split i of theirs is every tenth picture of ours; the softmax of the logarithm divides by the sum, as ours does.
    order = np.arange(400).reshape(40, 10).T.reshape(-1)
    isc = isc_features_to_metric(torch.from_numpy(np.log(probabilities.astype(np.float64)))[order], 10, shuffle=False)
    values = dict(
        drawn=a,
        data=b,
        fid=np.array([fid]),
        kid_subsets=np.array([[i, j] for i, j in subsets], np.int64),
        kid_each=np.array(each),
        kid=np.array([kid["kernel_inception_distance_mean"], kid["kernel_inception_distance_std"]]),
        precision_recall=np.array([prc["precision"], prc["recall"]]),
        probabilities=probabilities,
        score=np.array([isc["inception_score_mean"], isc["inception_score_std"]]),
    )
    return values, moments


def main(folder, out):
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    for name, a, b in cases(folder):
        values, moments = golden(a, b, rng)
        save_file(values, out / f"{name}.safetensors")
        print(name, {k: v.tolist() for k, v in values.items() if v.size < 10})
        if name == "random":
            (mu, sigma), (m2, s2) = moments
            np.savez_compressed(out / "pytorch_fid.npz", mu=mu, sigma=sigma)
            pictures = np.zeros((2, 4, 4, 3), np.uint8)
            single = {"mu_s": mu[:5].astype(np.float32), "sigma_s": sigma[:5, :5].astype(np.float32)}
            np.savez(out / "guided_diffusion.npz", arr_0=pictures, mu=mu.astype(np.float32), sigma=sigma.astype(np.float32), **single)
            np.savez_compressed(out / "denoising_diffusion.npz", m2=m2, s2=s2)


main(*sys.argv[1:])
