//! What is known of a picture, and putting it back.
//!
//! A mask, the grey of a colour picture and a picture of low resolution are one thing: `A x` for a linear A. In the subspace that A sees, x
//! is replaced by the known picture noised to the same level, `x + A^+ (A y_t - A x)`; in the rest the model is free (Song et
//! al., arXiv:2011.13456, section 5 and appendix I; Choi et al., arXiv:2108.02938). `A^+ A` is the orthogonal projection onto that
//! subspace, so A itself is never needed. Deliberately absent: A that are not projections of pixels, and guidance by gradients.

use burn::tensor::{Bool, Tensor};

use crate::{Constrain, NoiseSource, ProcessError, Stage, ValueError, solver::weighted};

/// The part of a picture `[B, H, W, C]` that is known.
#[derive(Clone, Debug)]
pub enum Known {
    /// Where this is true: `[1, H, W, 1]`, or any of the ones as long as the picture.
    Mask(Box<Tensor<4, Bool>>),
    /// The mean of each pixel's channels: the model colours.
    Grey,
    /// The means of square blocks: the model sharpens.
    LowResolution {
        /// Side of a block in pixels, at least 1; divides height and width.
        factor: usize,
    },
}

impl Known {
    /// Known where `mask` is above a half; black and white are -1 and 1, or 0 and 1. Shape as [`Known::Mask`].
    pub fn mask(mask: Tensor<4>) -> Self {
        Self::Mask(Box::new(mask.greater_elem(0.5)))
    }

    /// Whether pictures of this shape can have such a part.
    ///
    /// # Errors
    /// A mask of another size, a single channel, blocks that do not divide the size.
    pub fn check(&self, [b, h, w, c]: [usize; 4]) -> Result<(), ProcessError> {
        match self {
            Self::Mask(mask) => {
                let [mb, mh, mw, mc] = mask.dims();
                if [mh, mw] == [h, w] && [1, b].contains(&mb) && [1, c].contains(&mc) {
                    return Ok(());
                }
                let expected = format!("[1 or {b}, {h}, {w}, 1 or {c}], as the picture");
                Err(ProcessError::Shape { what: "the mask", found: vec![mb, mh, mw, mc], expected })
            }
            Self::Grey if c < 2 => {
                Err(ValueError::new("channels", c, "3: a grey picture has no colours to find").into())
            }
            Self::Grey => Ok(()),
            Self::LowResolution { factor } if *factor == 0 || h % factor != 0 || w % factor != 0 => {
                Err(ValueError::new("factor", factor, format!("a number that divides {h} and {w}")).into())
            }
            Self::LowResolution { .. } => Ok(()),
        }
    }

    /// `A^+ A x`: the picture that is known, in the shape of `x` `[B, H, W, C]`; the rest is 0.
    pub fn part(&self, x: Tensor<4>) -> Tensor<4> {
        let [b, h, w, c] = x.dims();
        match self {
            Self::Mask(_) => self.replace(x.zeros_like(), x),
            Self::Grey => x.mean_dim(3).expand([b, h, w, c]),
            Self::LowResolution { factor: f } => {
                let blocks: Tensor<6> = x.reshape([b, h / f, *f, w / f, *f, c]);
                let means = blocks.mean_dim(2).mean_dim(4);
                means.expand([b, h / f, *f, w / f, *f, c]).reshape([b, h, w, c])
            }
        }
    }

    /// x with the known part of `y`: `x + A^+ A (y - x)`, each `[B, H, W, C]`. Masked pixels are those of y, bit for bit.
    pub fn replace(&self, x: Tensor<4>, y: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Mask(mask) => {
                let mask = Tensor::clone(mask).expand(x.dims());
                x.mask_where(mask, y)
            }
            _ => x.clone() + self.part(y - x),
        }
    }

    /// As [`Known::replace`], for pictures in [-1, 1], and into [-1, 1]: what lies outside is cut off, and what the known part then
    /// lacks is made up by the pixels in proportion to the room they have.
    pub fn settle(&self, x: Tensor<4>, picture: Tensor<4>) -> Tensor<4> {
        let x = self.replace(x, picture.clone()).clamp(-1.0, 1.0);
        if matches!(self, Self::Mask(_)) {
            return x;
        }
        let mean = self.part(x.clone());
        let lack = self.part(picture) - mean.clone();
        let share = |lack: Tensor<4>, room: Tensor<4>| lack.clamp_min(0.0) / room.clamp_min(f64::from(f32::EPSILON));
        let up = share(lack.clone(), 1.0 - mean.clone());
        let down = share(-lack, mean + 1.0);
        x.clone() + (1.0 - x.clone()) * up - (x + 1.0) * down
    }
}

/// Puts the known part of a picture back before every evaluation, at the noise of that evaluation, and as it is at the end.
#[derive(Clone, Debug)]
pub struct Keep {
    known: Known,
    picture: Tensor<4>,
    source: NoiseSource,
    evaluations: usize,
}

impl Keep {
    /// The `known` part of `picture` `[1 or B, H, W, C]`, of which only that part is looked at. Its noise is fresh at every
    /// evaluation and has nothing to do with the solver's; of [`NoiseSource::Given`] each evaluation takes one tensor.
    pub fn new(known: Known, picture: Tensor<4>, source: NoiseSource) -> Self {
        Self { known, picture, source, evaluations: 0 }
    }

    /// The picture, once for each image of `x`.
    fn picture_like(&self, x: &Tensor<4>) -> Result<Tensor<4>, ProcessError> {
        let ([b, h, w, c], found) = (x.dims(), self.picture.dims());
        self.known.check(x.dims())?;
        if found == [b, h, w, c] || found == [1, h, w, c] {
            return Ok(self.picture.clone().expand(x.dims()));
        }
        let expected = format!("[1 or {b}, {h}, {w}, {c}]");
        Err(ProcessError::Shape { what: "the known picture", found: found.to_vec(), expected })
    }
}

impl Constrain for Keep {
    fn constrain(&mut self, x: Tensor<4>, stage: &Stage) -> Result<Tensor<4>, ProcessError> {
        let picture = self.picture_like(&x)?;
        let noise = self.source.known(&x, self.evaluations)?.cast(x.dtype());
        self.evaluations += 1;
        let noised = weighted(&[(stage.at.alpha, &picture), (stage.at.sigma, &noise)]);
        Ok(self.known.replace(x, noised))
    }

    fn finish(&mut self, x: Tensor<4>) -> Result<Tensor<4>, ProcessError> {
        let picture = self.picture_like(&x)?;
        Ok(self.known.replace(x, picture))
    }
}
