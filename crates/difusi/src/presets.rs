//! The built-in configs: the files of configs/, compiled in.

/// (name, what it is for, TOML).
const PRESETS: &[(&str, &str, &str)] = &[
    ("digits", "drawn digits, no files needed: minutes on a laptop", include_str!("../../../configs/digits.toml")),
    ("digits-class", "drawn digits that can be asked for by class", include_str!("../../../configs/digits-class.toml")),
    ("mnist", "MNIST, 28x28", include_str!("../../../configs/mnist.toml")),
    ("mnist-class", "MNIST with classes that can be asked for", include_str!("../../../configs/mnist-class.toml")),
    ("mnist-likelihood", "MNIST for bits per dimension, 28x28", include_str!("../../../configs/mnist-likelihood.toml")),
    ("mnist-vae", "MNIST with a variational autoencoder", include_str!("../../../configs/mnist-vae.toml")),
    ("mnist-gan", "MNIST with a GAN", include_str!("../../../configs/mnist-gan.toml")),
    ("mnist-flow", "MNIST with a normalizing flow", include_str!("../../../configs/mnist-flow.toml")),
    (
        "mnist-classifier",
        "MNIST's classes, to judge pictures by",
        include_str!("../../../configs/mnist-classifier.toml"),
    ),
    (
        "mnist-noisy-classifier",
        "MNIST's classes in noise, to lead `mnist` to a class",
        include_str!("../../../configs/mnist-noisy-classifier.toml"),
    ),
    (
        "digits-noisy-classifier",
        "drawn digits' classes in noise, to lead `digits` to a class",
        include_str!("../../../configs/digits-noisy-classifier.toml"),
    ),
    ("fashion-mnist", "Fashion-MNIST, 28x28", include_str!("../../../configs/fashion-mnist.toml")),
    ("cifar10", "CIFAR-10, 32x32", include_str!("../../../configs/cifar10.toml")),
    ("folder", "any folder of pictures, 32x32", include_str!("../../../configs/folder.toml")),
    ("mnist-ddpm", "the literal DDPM recipe on MNIST", include_str!("../../../configs/mnist-ddpm.toml")),
    ("folder-128", "the peers' recipe for a folder at 128x128", include_str!("../../../configs/folder-128.toml")),
];

/// The names, in the order of the documentation.
pub fn names() -> impl Iterator<Item = &'static str> {
    PRESETS.iter().map(|p| p.0)
}

/// (name, one line about it) of every preset.
pub fn list() -> impl Iterator<Item = (&'static str, &'static str)> {
    PRESETS.iter().map(|p| (p.0, p.1))
}

/// The TOML of a preset.
pub fn get(name: &str) -> Option<&'static str> {
    PRESETS.iter().find(|p| p.0 == name).map(|p| p.2)
}
