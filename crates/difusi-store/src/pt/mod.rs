//! PyTorch's `torch.save` files (`.pt`, `.pth`, `.ckpt`, `.th`): the zip container (PyTorch 1.6 and later) and the older
//! stream of pickles.
//!
//! Reading executes nothing: a pickle is interpreted by a small stack machine (`machine`) that knows a fixed list of
//! Python names (`globals`); any other name is refused. Tensors of every device arrive on the host.
//! Deliberately absent: TorchScript archives, whole pickled modules, sparse and quantised tensors, the tar container of
//! PyTorch before 0.1.10, big-endian files.

mod container;
mod globals;
mod machine;
mod opcode;
mod tree;
mod value;
mod write;

use std::path::Path;

pub use value::PtValue;
pub use write::write;

pub(crate) use container::looks_like_legacy;

use crate::error::Fault;
use crate::{HostTensor, StoreError, TensorInfo};

const FORMAT: &str = "PyTorch";

/// Reads a whole file. Errors name the file, a refused Python object, or the tensor at fault.
pub fn read(path: &Path) -> Result<PtValue<HostTensor>, StoreError> {
    let open = || {
        let mut file = container::open(path)?;
        let (root, machine) = file.unpickle()?;
        tree::Builder::new(&machine, |view| file.load(view)).build(root)
    };
    open().map_err(Fault::at(path, FORMAT))
}

/// Reads the structure without the tensors' numbers; the names inside [`TensorInfo`] are empty here and filled by
/// [`PtValue::flatten`].
pub fn read_structure(path: &Path) -> Result<PtValue<TensorInfo>, StoreError> {
    let open = || {
        let mut file = container::open(path)?;
        let (root, machine) = file.unpickle()?;
        let info =
            |view: &globals::View| Ok(TensorInfo { name: String::new(), shape: view.shape.clone(), dtype: view.dtype });
        tree::Builder::new(&machine, info).build(root)
    };
    open().map_err(Fault::at(path, FORMAT))
}
