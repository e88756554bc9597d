//! What is published under a name: data sets and weights, where they come from and what their folders are called.

use std::fmt;
use std::str::FromStr;

use crate::DataError;

/// A published data set that [`crate::fetch()`] can bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedSet {
    /// Handwritten digits (LeCun, Cortes, Burges 1998): 60,000 + 10,000, 28x28 grey.
    Mnist,
    /// Clothes (Xiao, Rasul, Vollgraf 2017, arXiv:1708.07747): 60,000 + 10,000, 28x28 grey.
    FashionMnist,
    /// Photographs (Krizhevsky 2009): 50,000 + 10,000, 32x32 RGB.
    Cifar10,
}

/// A file of a published set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RemoteFile {
    pub(crate) name: &'static str,
    pub(crate) checksum: Checksum,
    /// A body longer than this is refused.
    pub(crate) max_bytes: u64,
}

/// What a file must hash to, in lower-case hex.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checksum {
    Md5(&'static str),
    /// Or the digits it begins with, where only these are published.
    Sha256(&'static str),
}

const fn file(name: &'static str, checksum: Checksum, max_mib: u64) -> RemoteFile {
    RemoteFile { name, checksum, max_bytes: max_mib << 20 }
}

const MNIST: [RemoteFile; 4] = [
    file("train-images-idx3-ubyte.gz", Checksum::Sha256(MNIST_SHA[0]), 64),
    file("train-labels-idx1-ubyte.gz", Checksum::Sha256(MNIST_SHA[1]), 64),
    file("t10k-images-idx3-ubyte.gz", Checksum::Sha256(MNIST_SHA[2]), 64),
    file("t10k-labels-idx1-ubyte.gz", Checksum::Sha256(MNIST_SHA[3]), 64),
];
const MNIST_SHA: [&str; 4] = [
    "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
];
const FASHION: [RemoteFile; 4] = [
    file("train-images-idx3-ubyte.gz", Checksum::Md5("8d4fb7e6c68d591d4c3dfef9ec88bf0d"), 64),
    file("train-labels-idx1-ubyte.gz", Checksum::Md5("25c81989df183df01b3e8a0aad5dffbe"), 64),
    file("t10k-images-idx3-ubyte.gz", Checksum::Md5("bef4ecab320f06d8554ea6380940ec79"), 64),
    file("t10k-labels-idx1-ubyte.gz", Checksum::Md5("bb300cfdad3c16e7a12a480ee83cd310"), 64),
];
const CIFAR10: [RemoteFile; 1] =
    [file("cifar-10-binary.tar.gz", Checksum::Md5("c32a1d4ab5d03f1284b67883e8d87530"), 256)];

/// Published weights that [`crate::fetch_weights()`] can bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedWeights {
    /// The Inception-v3 of the Frechet Inception Distance: pytorch-fid's port of TensorFlow's network of 2015-12-05. 91 MiB.
    Inception,
}

/// By PyTorch's custom the file's name ends with the first eight digits of its SHA-256.
const INCEPTION: RemoteFile = file("pt_inception-2015-12-05-6726825d.pth", Checksum::Sha256("6726825d"), 128);

impl NamedWeights {
    /// All of them.
    pub const ALL: [Self; 1] = [Self::Inception];

    /// The name in commands, and of its folder in the cache.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inception => "inception",
        }
    }

    /// The file's name.
    pub const fn file_name(self) -> &'static str {
        self.file().name
    }

    pub(crate) const fn file(self) -> &'static RemoteFile {
        match self {
            Self::Inception => &INCEPTION,
        }
    }

    /// Addresses of the file, in the order they are tried; it need not have its name there.
    pub const fn addresses(self) -> &'static [&'static str] {
        match self {
            Self::Inception => &[
                "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
                "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
            ],
        }
    }
}

impl fmt::Display for NamedWeights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl NamedSet {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Mnist, Self::FashionMnist, Self::Cifar10];

    /// The name in configs and commands.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mnist => "mnist",
            Self::FashionMnist => "fashion-mnist",
            Self::Cifar10 => "cifar10",
        }
    }

    /// Class names in label order.
    pub const fn class_names(self) -> [&'static str; 10] {
        match self {
            Self::Mnist => ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
            Self::FashionMnist => [
                "T-shirt/top",
                "Trouser",
                "Pullover",
                "Dress",
                "Coat",
                "Sandal",
                "Shirt",
                "Sneaker",
                "Bag",
                "Ankle boot",
            ],
            Self::Cifar10 => ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
        }
    }

    /// Folders below a data root that may hold the set, the usual layouts of other tools among them.
    pub(crate) const fn folders(self) -> &'static [&'static str] {
        match self {
            Self::Mnist => &["mnist", "MNIST/raw", "MNIST"],
            Self::FashionMnist => &["fashion-mnist", "FashionMNIST/raw", "FashionMNIST", "fashion_mnist"],
            Self::Cifar10 => &["cifar10", "cifar-10", "cifar-10-batches-bin"],
        }
    }

    pub(crate) const fn files(self) -> &'static [RemoteFile] {
        match self {
            Self::Mnist => &MNIST,
            Self::FashionMnist => &FASHION,
            Self::Cifar10 => &CIFAR10,
        }
    }

    /// Addresses of the folders that hold the files, in the order they are tried.
    pub const fn mirrors(self) -> &'static [&'static str] {
        match self {
            Self::Mnist => &[
                "https://ossci-datasets.s3.amazonaws.com/mnist",
                "https://storage.googleapis.com/cvdf-datasets/mnist",
                "http://yann.lecun.com/exdb/mnist",
            ],
            Self::FashionMnist => &[
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
                "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion",
            ],
            Self::Cifar10 => &["https://www.cs.toronto.edu/~kriz"],
        }
    }
}

impl fmt::Display for NamedSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for NamedSet {
    type Err = DataError;

    fn from_str(name: &str) -> Result<Self, DataError> {
        Self::ALL.into_iter().find(|s| s.name() == name).ok_or_else(|| DataError::UnknownSet { name: name.to_string() })
    }
}
