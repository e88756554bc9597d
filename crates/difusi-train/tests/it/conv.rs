//! The house's own kernels in the loop: diffusion with a small convolutional network that also carries a bare constant.

use burn::module::{Module, Param};
use burn::tensor::{Tensor, TensorData};
use difusi_core::{Draw, Inputs, Network, Noise, Precision};
use difusi_ops::{ConvSpec, conv2d, rms_norm_silu};
use difusi_process::DiffusionConfig;
use difusi_train::{DiffusionObjective, MicroBatch, TrainConfig, Trainer};

use crate::common::{device, images, quick, run};

#[derive(Module, Debug)]
struct Conv {
    first: Param<Tensor<4>>,
    gain: Param<Tensor<1>>,
    last: Param<Tensor<4>>,
    /// Not a parameter: neither trained nor averaged nor saved.
    offset: Tensor<4>,
}

const WIDTH: usize = 24;

impl Conv {
    fn new() -> Self {
        let kernel = |i, [o, c]: [usize; 2]| {
            let values = Noise::new(4).normal(Draw::Weights, i..i + 1, 0, o * c * 9);
            Param::from_tensor(Tensor::<4>::from_data(TensorData::new(values, [o, c, 3, 3]), &device()) * 0.2)
        };
        let gain = Param::from_tensor(Tensor::ones([WIDTH], &device()));
        let offset = Tensor::full([1, 1, 1, 1], 0.1, &device());
        Self { first: kernel(0, [WIDTH, 1]), gain, last: kernel(1, [1, WIDTH]), offset }
    }
}

impl Network for Conv {
    fn forward(&self, inputs: Inputs) -> Tensor<4> {
        let [b] = inputs.t.dims();
        let x = inputs.x + self.offset.clone() * (inputs.t / 1000.0).reshape([b, 1, 1, 1]); // [B, H, W, 1]
        let hidden = conv2d(x, self.first.val(), None, ConvSpec::same(3)); // [B, H, W, WIDTH]
        let hidden = rms_norm_silu(hidden, self.gain.val(), None, None);
        conv2d(hidden, self.last.val(), None, ConvSpec::same(3))
    }
}

type ConvTrainer = Trainer<DiffusionObjective<Conv>>;

fn trainer(checkpoint_activations: bool) -> ConvTrainer {
    let config = TrainConfig {
        batch_size: 11,
        micro_batch: MicroBatch::Images(4),
        ema: vec![0.99, 0.5],
        checkpoint_activations,
        ..quick()
    };
    let objective = DiffusionObjective::new(DiffusionConfig::default().build().unwrap());
    Trainer::new(config, objective, Conv::new(), images(u64::MAX), &device()).unwrap()
}

fn bits(t: &ConvTrainer) -> Vec<u32> {
    let of = |m: &Conv| {
        let tensors = [m.first.val().into_data(), m.last.val().into_data(), m.gain.val().into_data()];
        tensors.iter().flat_map(|d| d.as_slice::<f32>().unwrap().to_vec()).map(f32::to_bits).collect::<Vec<u32>>()
    };
    [of(&t.raw()), of(&t.ema(0).unwrap()), of(&t.ema(1).unwrap())].concat()
}

#[test]
fn convolutions_resume_and_ignore_the_thread_count() {
    let ways = [1, 2].map(|threads| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
            let dir = tempfile::tempdir().unwrap();
            let mut whole = trainer(false);
            run(&mut whole, 20);
            let mut first = trainer(false);
            run(&mut first, 10);
            first.save_state(&dir.path().join("s")).unwrap();
            drop(first);
            let mut second = trainer(false);
            second.resume(&dir.path().join("s")).unwrap();
            run(&mut second, 10);
            [bits(&whole), bits(&second)]
        })
    });
    assert!(ways[0][0] == ways[0][1], "resumed run differs");
    assert!(ways[0] == ways[1], "two threads differ from one");
}

/// A network that has no bf16 is not silently trained in f32.
#[test]
fn a_precision_that_the_network_lacks_is_refused() {
    let config = TrainConfig { precision: Precision::Bf16, ..quick() };
    let objective = DiffusionObjective::new(DiffusionConfig::default().build().unwrap());
    let said = Trainer::new(config, objective, Conv::new(), images(u64::MAX), &device()).err().unwrap().to_string();
    assert!(said.contains("`train.precision` is bf16; expected f32, the only precision of this network"), "{said}");
}

/// Recomputing activations changes no bit, also where the module holds tensors that are no parameters.
#[test]
fn recomputed_activations_change_no_bit() {
    let (mut plain, mut recomputed) = (trainer(false), trainer(true));
    assert_eq!(run(&mut plain, 5), run(&mut recomputed, 5));
    assert!(bits(&plain) == bits(&recomputed));
}
