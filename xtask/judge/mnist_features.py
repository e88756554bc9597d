"""The MNIST CNN as a judge: 32-d features, class probabilities, Frechet distance. Shared by mnist_judge.py and claims.py.

Needs numpy, scipy, torch and safetensors; weights and images are those of shared/data.
"""
import gzip

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from scipy.linalg import sqrtm


class Judge:
    def __init__(self, data):
        self.data = data
        self.weights = load_file(f"{data}/weights/burn-mnist-cnn/mnist.safetensors")

    def read_idx(self, split):
        """uint8 [N, 28, 28]; split is train or t10k."""
        with gzip.open(f"{self.data}/mnist/{split}-images-idx3-ubyte.gz") as f:
            return np.frombuffer(f.read(), np.uint8, offset=16).reshape(-1, 28, 28)

    def batch_norm(self, x, name):
        get = lambda part: self.weights[f"{name}.{part}"]
        return F.batch_norm(x, get("running_mean"), get("running_var"), get("weight"), get("bias"))

    @torch.no_grad()
    def features(self, images):
        """uint8 [N, H, W] -> features [N, 32], class probabilities [N, 10]. Other sizes than 28x28 are resized bilinearly."""
        features, probabilities, w = [], [], self.weights
        for start in range(0, len(images), 500):
            x = torch.from_numpy(images[start : start + 500].astype(np.float32))[:, None] / 255
            if x.shape[2:] != (28, 28):
                x = F.interpolate(x, size=(28, 28), mode="bilinear", align_corners=False)
            x = (x - 0.1307) / 0.3081
            for conv in ("conv1", "conv2", "conv3"):
                x = F.relu(F.conv2d(x, w[f"{conv}.weight"], w[f"{conv}.bias"]))
            x = self.batch_norm(x, "norm1").flatten(1)
            f = F.relu(F.linear(x, w["fc1.weight"], w["fc1.bias"]))
            logits = self.batch_norm(F.linear(f, w["fc2.weight"], w["fc2.bias"]), "norm2")
            features.append(f.double().numpy())
            probabilities.append(logits.softmax(1).numpy())
        return np.concatenate(features), np.concatenate(probabilities)


def frechet(a, b):
    """Frechet distance between Gaussians with the sample covariances of both sets of features."""
    ca, cb = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(ca + cb - 2 * sqrtm(ca @ cb).real))
