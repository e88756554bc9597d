//! Between burn's tensors, whose number is known at run time, and kernels, which are generic over it.

use burn::backend::TensorMetadata;
use burn::tensor::{Bytes, DType, Shape, bf16};
use burn_flex::{FlexTensor, Layout};

use crate::{kernel::convert, simd::Stored};

/// The numbers of CPU tensors: f32, and bf16, which is computed with as f32.
pub(crate) trait Number: Stored<F = f32> {
    const DTYPE: DType;
    /// The values of a contiguous tensor of these numbers, else `None`.
    fn slice(tensor: &FlexTensor) -> Option<&[Self]>;
    /// All memory of a tensor that nothing else uses, else `None`.
    fn slice_mut(tensor: &mut FlexTensor) -> Option<&mut [Self]>;
    /// All memory behind a tensor of these numbers.
    fn storage(tensor: &FlexTensor) -> &[Self];
    fn bytes(values: Vec<Self>) -> Bytes;
}

macro_rules! number {
    ($number:ty, $dtype:expr) => {
        impl Number for $number {
            const DTYPE: DType = $dtype;
            fn slice(tensor: &FlexTensor) -> Option<&[Self]> {
                tensor.as_slice()
            }
            fn slice_mut(tensor: &mut FlexTensor) -> Option<&mut [Self]> {
                tensor.try_storage_mut()
            }
            fn storage(tensor: &FlexTensor) -> &[Self] {
                tensor.storage()
            }
            fn bytes(values: Vec<Self>) -> Bytes {
                Bytes::from_elems(values)
            }
        }
    };
}

number!(f32, DType::F32);
number!(bf16, DType::BF16);

/// `$body` with `$number` as the name of the number that lies in `$tensor`.
macro_rules! with_number {
    ($tensor:expr, $number:ident => $body:expr) => {
        match burn::backend::TensorMetadata::dtype($tensor) {
            burn::tensor::DType::BF16 => {
                type $number = burn::tensor::bf16;
                $body
            }
            _ => {
                type $number = f32;
                $body
            }
        }
    };
}
pub(super) use with_number;

/// The values of a tensor that [`contiguous`] gave.
pub(super) fn values<E: Number>(tensor: &FlexTensor) -> &[E] {
    match E::slice(tensor) {
        Some(values) => values,
        None => unreachable!("the rules make tensors contiguous and of the number that they read first"),
    }
}

/// A tensor of these values.
pub(super) fn tensor<E: Number, const D: usize>(values: Vec<E>, dims: [usize; D]) -> FlexTensor {
    shaped(values, Shape::from(dims.to_vec()))
}

/// A tensor of these values.
pub(super) fn shaped<E: Number>(values: Vec<E>, shape: Shape) -> FlexTensor {
    FlexTensor::new(E::bytes(values), Layout::contiguous(shape), E::DTYPE)
}

/// The tensor with its values one after the other and of the number `E`: itself where it is so already.
pub(super) fn contiguous<E: Number>(tensor: &FlexTensor) -> FlexTensor {
    let tensor = tensor.to_contiguous();
    match TensorMetadata::dtype(&tensor) {
        dtype if dtype == E::DTYPE => tensor,
        DType::BF16 => shaped(convert::converted::<bf16, E>(values(&tensor)), tensor.shape()),
        _ => shaped(convert::converted::<f32, E>(values(&tensor)), tensor.shape()),
    }
}

/// The shape of a tensor of `D` dimensions.
pub(super) fn dims<const D: usize>(tensor: &FlexTensor) -> [usize; D] {
    let shape = tensor.shape();
    std::array::from_fn(|i| shape[i])
}
