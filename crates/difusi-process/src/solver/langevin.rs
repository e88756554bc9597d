//! Langevin dynamics as a solver: Song & Ermon (arXiv:1907.05600) algorithm 1, annealed over the visited levels.

use burn::tensor::Tensor;

use super::{Moment, Noises};
use crate::{Jump, Level, ProcessError, Stage, StepSize, score::langevin};

/// `steps` moves at each visited level, the last of them carrying x over to the next level; onto the data leads one more
/// evaluation, whose x_0 is the sample (Jolicoeur-Martineau et al., arXiv:2009.05475).
pub(super) fn stages(levels: &[Level], steps: usize) -> Vec<Stage> {
    let interval = |pair: &[Level]| {
        let (at, next) = (pair[0], pair[1]);
        let mut stages = staying(at, steps);
        match stages.last_mut() {
            Some(last) if !next.is_data() => last.to = next,
            _ => stages.push(Stage { part: steps, ..Stage::whole(at, next) }),
        }
        stages
    };
    levels.windows(2).flat_map(interval).collect()
}

/// `count` evaluations at a level that is not left.
pub(super) fn staying(at: Level, count: usize) -> Vec<Stage> {
    (0..count).map(|part| Stage { part, ..Stage::whole(at, at) }).collect()
}

/// x / alpha stays where x changes its level.
pub(super) fn step(size: StepSize, now: &Moment, noises: &mut Noises) -> Result<Tensor<4>, ProcessError> {
    let (stage, said) = (now.stage(), now.now());
    if stage.to.is_data() {
        return Ok(said.x0.clone());
    }
    let x = moved(size, now, noises)?;
    Ok(if stage.to.alpha == stage.at.alpha { x } else { x * (stage.to.alpha / stage.at.alpha) })
}

/// One move at the stage's level.
pub(super) fn moved(size: StepSize, now: &Moment, noises: &mut Noises) -> Result<Tensor<4>, ProcessError> {
    let (stage, said) = (now.stage(), now.now());
    let score = said.score()?;
    let noise = noises.normal(&said.x)?;
    let ahead = now.stages[now.index..].iter().map(|stage| stage.to).find(|to| *to != stage.at);
    let signal = ahead.map_or(1.0, |to| Jump { from: stage.at, to }.scale().powi(2));
    let epsilons = size.epsilons((stage.at.sigma, signal), &score, &noise);
    langevin(said.x.clone(), score, noise, &epsilons)
}
