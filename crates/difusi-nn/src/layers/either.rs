//! One of two modules, leaving no trace in the names of their parameters (a derived `enum` would add its variant's name).

use burn::module::{Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor};
use burn::tensor::Device;

/// One of two modules.
#[derive(Clone, Debug)]
pub enum Either<A, B> {
    /// The first.
    Left(A),
    /// The second.
    Right(B),
}

macro_rules! each {
    ($value:expr, $module:ident => $body:expr) => {
        match $value {
            Either::Left($module) => Either::Left($body),
            Either::Right($module) => Either::Right($body),
        }
    };
}

impl<A: Module, B: Module> Module for Either<A, B> {
    fn collect_devices(&self, devices: Devices) -> Devices {
        match self {
            Either::Left(module) => module.collect_devices(devices),
            Either::Right(module) => module.collect_devices(devices),
        }
    }

    fn fork(self, device: &Device) -> Self {
        each!(self, module => module.fork(device))
    }

    fn to_device(self, device: &Device) -> Self {
        each!(self, module => module.to_device(device))
    }

    fn train(self) -> Self {
        each!(self, module => module.train())
    }

    fn valid(&self) -> Self {
        each!(self, module => module.valid())
    }

    fn materialize(self) -> Self {
        each!(self, module => module.materialize())
    }

    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        match self {
            Either::Left(module) => module.visit(visitor),
            Either::Right(module) => module.visit(visitor),
        }
    }

    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        each!(self, module => module.map(mapper))
    }
}

impl<A: ModuleDisplay, B: ModuleDisplay> ModuleDisplayDefault for Either<A, B> {
    fn content(&self, content: Content) -> Option<Content> {
        match self {
            Either::Left(module) => content.add_single(module).optional(),
            Either::Right(module) => content.add_single(module).optional(),
        }
    }
}

impl<A: ModuleDisplay, B: ModuleDisplay> ModuleDisplay for Either<A, B> {}
