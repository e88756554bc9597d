"""Feature networks here and in PyTorch by turns, in one run on one machine.

    python3 -m venv VENV && VENV/bin/pip install torch torchvision pytorch-fid
    cargo build --release -p difusi-nn --example features_bench
    VENV/bin/python xtask/bench/features_peer.py target/release/examples/features_bench [--threads 2] [--rounds 9]

PyTorch runs pytorch-fid's own Inception (random weights), and plain modules for the MNIST CNN and ResNet-20, in inference mode, in
both memory formats; its better one counts. Both sides compute the same layers on images of the same shape. Each round times every
side once; medians over the rounds are printed, and ours over theirs. Wall clock; with `--cpu` processor time of all threads, for
machines that do other work too (with `--threads 1`, so that waiting threads do not count).
"""

import argparse
import os
import statistics
import subprocess
import sys
import time


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("ours", help="the built example")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--cpu", action="store_true", help="processor time instead of time passed")
    parser.add_argument("--only", help="one of inception, mnist-cnn, resnet20")
    parser.add_argument("--convs", type=int, metavar="BATCH", help="Inception's convolutions one by one, each with its ReLU")
    return parser.parse_args()


ARGS = arguments() if __name__ == "__main__" else None
if ARGS:
    os.environ["OMP_NUM_THREADS"] = str(ARGS.threads)
    os.environ["RAYON_NUM_THREADS"] = str(ARGS.threads)

import torch  # noqa: E402  (after the number of threads)
import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

WORK = [("inception", 16), ("inception", 32), ("mnist-cnn", 1000), ("resnet20", 256)]
# How often a single convolution is run: the clock of a process ticks slowly.
REPEATS = 10
SHAPES = {"inception": (3, 299, 299), "mnist-cnn": (1, 28, 28), "resnet20": (3, 32, 32)}


def fid_inception():
    from pytorch_fid import inception

    inception.load_state_dict_from_url = lambda url, progress=True: None
    load, nn.Module.load_state_dict = nn.Module.load_state_dict, lambda self, state: None
    net = inception.fid_inception_v3()
    nn.Module.load_state_dict, inception.fid_inception_v3 = load, lambda: net
    return inception.InceptionV3((3,), resize_input=False, normalize_input=False)


class MnistCnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.conv3 = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 16, 3), nn.Conv2d(16, 24, 3)
        self.norm1, self.norm2 = nn.BatchNorm2d(24), nn.BatchNorm1d(10)
        self.fc1, self.fc2 = nn.Linear(24 * 22 * 22, 32), nn.Linear(32, 10)

    def forward(self, x):
        for conv in (self.conv1, self.conv2, self.conv3):
            x = F.relu(conv(x))
        x = F.relu(self.fc1(self.norm1(x).flatten(1)))
        return x, self.norm2(self.fc2(x))


class Block(nn.Module):
    def __init__(self, inside, out):
        super().__init__()
        self.conv1 = nn.Conv2d(inside, out, 3, 1 if inside == out else 2, 1, bias=False)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(out), nn.BatchNorm2d(out)
        self.more = (out - inside) // 2

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.more, self.more)) if self.more else x))


class Resnet20(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        widths = [16, 16, 16, 16, 32, 32, 32, 64, 64, 64]
        self.blocks = nn.Sequential(*(Block(a, b) for a, b in zip(widths, widths[1:])))
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        x = self.blocks(F.relu(self.bn1(self.conv1(x)))).mean((2, 3))
        return x, self.linear(x)


NETWORKS = {"inception": fid_inception, "mnist-cnn": MnistCnn, "resnet20": Resnet20}


class Ours:
    def __init__(self, path):
        self.process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def milliseconds(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        wall, cpu = self.process.stdout.readline().split()
        return float(cpu if ARGS.cpu else wall)


def theirs(net, x, repeats=1):
    clock = time.process_time if ARGS.cpu else time.perf_counter
    begin = clock()
    for _ in range(repeats):
        net(x)
    return (clock() - begin) * 1000 / repeats


def convs(ours, batch):
    """Every convolution of Inception by its shape: both sides by turns, and how much of the whole it is."""
    net, shapes = fid_inception().eval(), {}

    def note(conv, inputs, _):
        (_, inside, height, width), out = inputs[0].shape, conv.out_channels
        key = (batch, height, width, inside, out, *conv.kernel_size, conv.stride[0], *conv.padding)
        shapes[key] = shapes.get(key, 0) + 1

    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(note)
    net(torch.randn(1, 3, 299, 299))
    rows = []
    for key, count in shapes.items():
        _, height, width, inside, out, kh, kw, stride, ph, pw = key
        x = torch.randn(batch, inside, height, width).to(memory_format=torch.channels_last)
        conv = nn.Conv2d(inside, out, (kh, kw), stride, (ph, pw)).to(memory_format=torch.channels_last)
        run = nn.Sequential(conv, nn.ReLU(inplace=True))
        times = []
        for _ in range(ARGS.rounds + 2):
            times.append((theirs(run, x, REPEATS), ours.milliseconds("conv", REPEATS, *key)))
            time.sleep(0.05)
        times = times[2:]
        a, b = (max(statistics.median(side), 1e-3) for side in zip(*times))
        flops = 2 * run(x).numel() * inside * kh * kw
        rows.append((count * a, count * b, f"{height}x{width}x{inside} -> {out} {kh}x{kw}/{stride}", count, flops))
    for a, b, what, count, flops in sorted(rows, key=lambda row: row[0] - row[1]):
        rate = count * flops * 1e-6
        print(f"{what:32} x{count} theirs {a:7.1f} ms {rate / a:4.0f} GFLOP/s  ours {b:7.1f} ms {rate / b:4.0f}  {b / a:.2f}")
    print(f"all: theirs {sum(r[0] for r in rows):.1f} ms, ours {sum(r[1] for r in rows):.1f} ms")


def compare(ours, name, batch):
    torch.manual_seed(0)
    x = torch.randn(batch, *SHAPES[name])
    nets = {
        "contiguous": (NETWORKS[name]().eval(), x),
        "channels_last": (
            NETWORKS[name]().eval().to(memory_format=torch.channels_last),
            x.to(memory_format=torch.channels_last),
        ),
    }
    sides = {mode: (lambda net=net, x=x: theirs(net, x)) for mode, (net, x) in nets.items()}
    sides["ours"] = lambda: ours.milliseconds(name, batch)
    times = {side: [] for side in sides}
    for round_ in range(ARGS.rounds + 2):
        for side, run in sides.items():
            spent = run()
            if round_ > 1:
                times[side].append(spent)
            time.sleep(0.2)  # until the other side's threads have stopped waiting for work
    medians = {side: statistics.median(values) for side, values in times.items()}
    best = min(value for side, value in medians.items() if side != "ours")
    row = "  ".join(f"{side} {value:8.1f}" for side, value in medians.items())
    print(f"{name:10} x{batch:<5} ms: {row}   ours / best of theirs {medians['ours'] / best:.2f}", flush=True)


def main():
    ours = Ours(ARGS.ours)
    kind = "processor time" if ARGS.cpu else "wall clock"
    print(f"torch {torch.__version__}, {ARGS.threads} threads, medians of {ARGS.rounds} rounds, {kind}", flush=True)
    with torch.inference_mode():
        if ARGS.convs:
            return convs(ours, ARGS.convs)
        for name, batch in WORK:
            if ARGS.only in (None, name):
                compare(ours, name, batch)


if __name__ == "__main__":
    sys.exit(main())
