//! Pictures changed with a model that was trained to draw, not to edit: the library side of `difusi edit`.
//!
//! The mathematics is [`difusi_process::edit`]; here files become tensors and results pictures. Picture i of a seed is the same at any
//! batch size and thread count (up to the network's rounding in the batch).

use std::cell::OnceCell;
use std::ops::Range;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor};
use difusi_core::{Cond, ImageSize};
use difusi_data::{Channels, load_image};
use difusi_process::{
    Level, NoiseSource, Plan, SampleConfig, SampleStep, Sampler,
    edit::{Keep, Known, Resampling, last_steps},
    q_sample, slerp,
};
use difusi_store::Picture;

use crate::canvas::{Canvas, pictures};
use crate::{Error, Model};

/// What to do to which picture. Files are PNG, JPEG or WebP; they are cropped and resized to the model's size.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// Noised and drawn again (SDEdit, arXiv:2108.01073).
    Redraw {
        /// The picture.
        image: PathBuf,
        /// In (0, 1]: small keeps the picture, 1 forgets it.
        strength: f64,
    },
    /// A part is drawn anew, the rest kept.
    Inpaint {
        /// The picture.
        image: PathBuf,
        /// A picture of the same height and width: white is drawn anew, black is kept.
        mask: PathBuf,
    },
    /// A grey picture gets colours; of a coloured one the means of the channels are kept.
    Colorize {
        /// The picture.
        image: PathBuf,
    },
    /// A small picture gets details.
    Upscale {
        /// The picture, brought to the model's size over `factor`.
        image: PathBuf,
        /// How many times larger the result is on each side; divides the model's height and width.
        factor: usize,
    },
    /// From one picture to another: both are turned into the noise that becomes them, and noise in between is drawn.
    Between {
        /// The pictures.
        ends: [PathBuf; 2],
    },
}

/// What to edit, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct EditOptions {
    /// What to do.
    pub edit: Edit,
    /// How often to come back on what was drawn, where a part of the picture is kept (RePaint, arXiv:2201.09865); `None` does not.
    pub resampling: Option<Resampling>,
    /// How many results, at least 1.
    pub count: usize,
    /// Pictures in one network evaluation; `None` takes 64, or as many as memory holds.
    pub batch: Option<usize>,
    /// The seed.
    pub seed: u64,
    /// Height and width, where they differ from training's.
    pub size: Option<ImageSize>,
    /// Solver, grid, steps, threshold.
    pub config: SampleConfig,
}

impl EditOptions {
    /// One result with the model card's `[sample]` section and seed 0; what is kept of a picture is kept plainly.
    ///
    /// # Errors
    /// A model that is no diffusion model.
    pub fn of(model: &Model, edit: Edit) -> Result<Self, Error> {
        let config = model.card.task.diffusion()?.sample.clone();
        Ok(Self { edit, resampling: None, count: 1, batch: None, seed: 0, size: None, config })
    }
}

/// What is done in every batch. Pictures are `[1, H, W, C]`.
#[derive(Debug)]
enum Job {
    Redraw { picture: Tensor<4>, from: Level },
    Keep { picture: Tensor<4>, known: Known },
    Between(Box<Ends>),
}

/// Two pictures, the way to the noise that becomes them, and that noise once it was found.
#[derive(Debug)]
struct Ends {
    pictures: [Tensor<4>; 2],
    inversion: Plan,
    noises: OnceCell<[Tensor<4>; 2]>,
}

/// Changes pictures with a model.
#[derive(Debug)]
pub struct Editor {
    canvas: Canvas,
    job: Job,
    plan: Plan,
    count: usize,
    seed: u64,
}

impl Editor {
    /// Reads the files and checks them against the model.
    ///
    /// # Errors
    /// Files that are no pictures, a mask of another size than its picture, colours of a model without any, a factor that does not
    /// divide the size, a strength outside (0, 1], bad sampling values, a network that must be told a label, a solver that cannot run backwards between pictures.
    pub fn new(model: &Model, options: EditOptions, device: &Device) -> Result<Self, Error> {
        let EditOptions { edit, resampling, count, batch, seed, size, config } = options;
        model.diffusion()?.task.needs_no_label("editing")?;
        let size = size.unwrap_or_else(|| model.card.size());
        let canvas = Canvas::new(model, size, &config, batch, device)?;
        let process = &canvas.diffusion.process;
        let levels = config.grid.levels_to(process, config.steps, config.end)?;
        let (solver, variance) = (config.solver, canvas.diffusion.variance);
        let job = Job::new(&edit, &canvas, &levels, &config)?;
        let plan = match (&job, &edit) {
            (Job::Redraw { .. }, Edit::Redraw { strength, .. }) => {
                Plan::on(process, last_steps(&levels, *strength)?, solver, variance)?
            }
            (Job::Keep { .. }, _) => match resampling {
                Some(resampling) => resampling.plan_on(process, &levels, (solver, variance))?,
                None => Plan::on(process, &levels, solver, variance)?,
            },
            _ => Plan::on(process, &levels, solver, variance)?,
        };
        Ok(Self { canvas, job, plan, count, seed })
    }

    /// Network evaluations of all batches together.
    pub fn evaluations(&self) -> usize {
        let before = match &self.job {
            Job::Between(ends) => ends.inversion.len(),
            _ => 0,
        };
        before + self.batches() * self.plan.len()
    }

    /// Number of batches.
    pub fn batches(&self) -> usize {
        self.count.div_ceil(self.canvas.batch)
    }

    /// Draws batch `index`; `on_step` sees every step of it, and before the first batch between two pictures those on the way to
    /// their noise.
    ///
    /// # Errors
    /// A failing network or device.
    pub fn batch(&self, index: usize, on_step: &mut dyn FnMut(&SampleStep)) -> Result<Vec<Picture>, Error> {
        let first = index * self.canvas.batch;
        let count = self.canvas.batch.min(self.count.saturating_sub(first));
        let source = NoiseSource::counter(self.seed, first as u64);
        let noise = self.canvas.noise(&mut source.clone(), count)?;
        Ok(pictures(match &self.job {
            Job::Redraw { picture, from } => {
                let start = q_sample(&vec![*from; count], picture.clone().expand(noise.dims()), noise)?;
                self.draw(start, source, None, on_step)?
            }
            Job::Keep { picture, known } => {
                let mut keep = Keep::new(known.clone(), picture.clone(), source.clone());
                let start = self.canvas.start(&self.plan, noise);
                let x = self.draw(start, source, Some(&mut keep), on_step)?;
                known.settle(x.clone(), picture.clone().expand(x.dims()))
            }
            Job::Between(ends) => {
                let noises = match ends.noises.get() {
                    Some(noises) => noises.clone(),
                    None => {
                        let found = self.inverted(ends, on_step)?;
                        ends.noises.get_or_init(|| found).clone()
                    }
                };
                self.draw(self.between(&noises, first..first + count)?, source, None, on_step)?
            }
        }))
    }

    /// All results.
    ///
    /// # Errors
    /// A failing network or device.
    pub fn all(&self) -> Result<Vec<Picture>, Error> {
        let mut out = Vec::new();
        for index in 0..self.batches() {
            out.extend(self.batch(index, &mut |_| {})?);
        }
        Ok(out)
    }

    fn draw(
        &self,
        start: Tensor<4>,
        source: NoiseSource,
        keep: Option<&mut Keep>,
        on_step: &mut dyn FnMut(&SampleStep),
    ) -> Result<Tensor<4>, Error> {
        let denoiser = self.canvas.denoiser();
        let sampler = Sampler::new(&denoiser, &self.plan, start, source, Cond::None);
        run(
            match keep {
                Some(keep) => sampler.constrained(keep),
                None => sampler,
            },
            on_step,
        )
    }

    /// The noise that becomes each of two pictures.
    fn inverted(&self, ends: &Ends, on_step: &mut dyn FnMut(&SampleStep)) -> Result<[Tensor<4>; 2], Error> {
        let denoiser = self.canvas.denoiser();
        let both = Tensor::cat(ends.pictures.to_vec(), 0);
        let none = NoiseSource::given(Vec::new());
        let x = run(Sampler::new(&denoiser, &ends.inversion, both, none, Cond::None), on_step)?;
        Ok([0, 1].map(|i| x.clone().narrow(0, i, 1)))
    }

    /// Noise along the great circle, for the results of these numbers.
    fn between(&self, [a, b]: &[Tensor<4>; 2], range: Range<usize>) -> Result<Tensor<4>, Error> {
        let share = |i: usize| i as f64 / self.count.saturating_sub(1).max(1) as f64;
        let parts = range.map(|i| slerp(a.clone(), b.clone(), share(i)));
        Ok(Tensor::cat(parts.collect::<Result<_, _>>()?, 0))
    }
}

/// Where the sampler ends.
fn run(mut sampler: Sampler<'_>, on_step: &mut dyn FnMut(&SampleStep)) -> Result<Tensor<4>, Error> {
    for step in sampler.by_ref() {
        on_step(&step?);
    }
    Ok(sampler.x())
}

impl Job {
    fn new(edit: &Edit, canvas: &Canvas, levels: &[Level], config: &SampleConfig) -> Result<Self, Error> {
        let job = match edit {
            Edit::Redraw { image, strength } => {
                let from = last_steps(levels, *strength)?[0];
                Self::Redraw { picture: canvas.load(image)?, from }
            }
            Edit::Inpaint { image, mask } => {
                let known = Known::mask(load_mask(mask, image, canvas)?);
                Self::Keep { picture: canvas.load(image)?, known }
            }
            Edit::Colorize { image } => Self::Keep { picture: canvas.load(image)?, known: Known::Grey },
            Edit::Upscale { image, factor } => {
                let known = Known::LowResolution { factor: *factor };
                known.check(canvas.shape(1))?;
                Self::Keep { picture: load_small(image, *factor, canvas)?, known }
            }
            Edit::Between { ends: [a, b] } => Self::Between(Box::new(Ends {
                pictures: [canvas.load(a)?, canvas.load(b)?],
                inversion: Plan::inversion(levels, config.solver, canvas.diffusion.variance)?,
                noises: OnceCell::new(),
            })),
        };
        if let Self::Keep { known, .. } = &job {
            known.check(canvas.shape(1))?;
        }
        Ok(job)
    }
}

/// 1 where the picture is kept, `[1, H, W, 1]`.
fn load_mask(mask: &Path, image: &Path, canvas: &Canvas) -> Result<Tensor<4>, Error> {
    let own_size = |path| -> Result<ImageSize, Error> {
        let [height, width, _] = load_image(path, None, Channels::Grey, [255; 3])?.shape;
        Ok(ImageSize { height, width })
    };
    let (found, wanted) = (own_size(mask)?, own_size(image)?);
    if found != wanted {
        let what = format!("the mask {}", mask.display());
        return Err(Error::value(what, found, format!("{wanted}, the size of {}", image.display())));
    }
    let white = canvas.tensor(load_image(mask, Some(canvas.size), Channels::Grey, [255; 3])?);
    Ok((white - 1.0) * -0.5)
}

/// A picture whose blocks are the pixels of the small one, `[1, H, W, C]`.
fn load_small(image: &Path, factor: usize, canvas: &Canvas) -> Result<Tensor<4>, Error> {
    let ImageSize { height, width } = canvas.size;
    let (height, width) = (height / factor, width / factor);
    let small = canvas.load_at(image, ImageSize { height, width })?;
    let c = canvas.channels;
    let pixels: Tensor<6> = small.reshape([1, height, 1, width, 1, c]);
    Ok(pixels.expand([1, height, factor, width, factor, c]).reshape(canvas.shape(1)))
}
