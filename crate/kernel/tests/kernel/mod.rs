//! The kernel's operations on the tensors of these tests.
#![allow(dead_code, reason = "every test crate uses a part of it")]

use batchnorm_kernel::norm::batch::{self, Given};
use batchnorm_kernel::parameters::{self, ParameterGradients};
use batchnorm_kernel::statistics::{self, Saved};
use batchnorm_kernel::{Cells, Workspace};

use crate::naive;
use crate::naive::batch::Statistics;
use crate::tensors::random::Random;
use crate::tensors::{Shape, Tensor, cells, values, wide};

/// Scale and offset of every channel, where there are any.
#[derive(Clone, Debug)]
pub struct Parameters {
    pub gamma: Option<Vec<f32>>,
    pub beta: Option<Vec<f32>>,
    pub eps: f64,
}

impl Parameters {
    pub fn none(eps: f64) -> Self {
        Self { gamma: None, beta: None, eps }
    }

    /// Drawn for `channels` channels, each of the two present in one case of two.
    pub fn random(random: &mut Random, channels: usize) -> Self {
        let mut some = |mean| {
            let values = random.normals(channels, mean, 1.0);
            (random.uniform() < 0.5).then_some(values)
        };
        Self { gamma: some(1.0), beta: some(0.0), eps: 1e-5 }
    }

    pub fn naive(&self, channels: usize) -> naive::batch::Parameters {
        let values = |of: &Option<Vec<f32>>, absent| {
            of.as_ref().map_or_else(|| vec![absent; channels], |values| wide(values))
        };
        naive::batch::Parameters {
            gamma: values(&self.gamma, 1.0),
            beta: values(&self.beta, 0.0),
            eps: self.eps,
        }
    }

    pub fn with<R>(&self, run: impl FnOnce(&parameters::Parameters) -> R) -> R {
        let cells = |values: &Option<Vec<f32>>| values.as_deref().map(cells);
        let (gamma, beta) = (cells(&self.gamma), cells(&self.beta));
        let (gamma, beta) = (gamma.as_deref(), beta.as_deref());
        run(&parameters::Parameters { gamma, beta, eps: self.eps })
    }
}

/// γ and β or none, and one of the usual ε.
pub fn parameters(shape: &Shape, random: &mut Random) -> Parameters {
    let eps = [0.0, 1e-5, 1e-3][random.below(3)];
    Parameters { eps, ..Parameters::random(random, shape.channel_count()) }
}

/// Mean and variance of every channel.
pub fn running(shape: &Shape, random: &mut Random) -> [Vec<f32>; 2] {
    let channels = shape.channel_count();
    let variance = random.normals(channels, 0.0, 3.0).iter().map(|value| value.abs()).collect();
    [random.normals(channels, 1.0, 10.0), variance]
}

/// What was added to the parameters' gradients.
#[derive(Clone, Debug, PartialEq)]
pub struct Gradients {
    pub gamma: Vec<f32>,
    pub beta: Vec<f32>,
}

fn memory<const K: usize>(tensors: [&Tensor; K]) -> [Cells<'_>; K] {
    tensors.map(Tensor::cells)
}

/// Normalizes x into y, which may be x.
pub fn training(
    shape: &Shape,
    [x, y]: [&Tensor; 2],
    parameters: &Parameters,
    workspace: &mut Workspace,
) -> Statistics {
    let layout = shape.layout(&[&x.placement, &y.placement]).expect("a layout");
    workspace.reserve(&layout).expect("memory");
    saved([layout.channels; 2], |saved| {
        parameters.with(|parameters| {
            let tensors = (&memory([x, y, x]), None);
            batch::forward(&layout, tensors, parameters, None, None, Some(saved), workspace);
        });
    })
}

/// Normalizes x into y, which may be x, by running statistics.
pub fn inference(
    shape: &Shape,
    [x, y]: [&Tensor; 2],
    parameters: &Parameters,
    [mean, variance]: [&[f32]; 2],
    workspace: &mut Workspace,
) {
    let layout = shape.layout(&[&x.placement, &y.placement]).expect("a layout");
    workspace.reserve(&layout).expect("memory");
    let (mean, variance) = (cells(mean), cells(variance));
    let given = Some(Given::Vectors([&mean[..], &variance]));
    parameters.with(|parameters| {
        let tensors = (&memory([x, y, x]), None);
        batch::forward(&layout, tensors, parameters, given, None, None, workspace);
    });
}

/// Statistics of x alone.
pub fn statistics(shape: &Shape, x: &Tensor, workspace: &mut Workspace) -> Statistics {
    let layout = shape.layout(&[&x.placement]).expect("a layout");
    workspace.reserve(&layout).expect("memory");
    saved([layout.channels; 2], |saved| {
        batch::statistics(&layout, x.cells(), None, saved, workspace);
    })
}

/// Gradients of [`training`] into dx, which may be x or dy.
pub fn backward(
    shape: &Shape,
    tensors: [&Tensor; 3],
    parameters: &Parameters,
    statistics: &Statistics,
    workspace: &mut Workspace,
) -> Gradients {
    gradients(shape, |gradients| {
        backward_into(shape, tensors, parameters, statistics, gradients, workspace);
    })
}

/// [`backward`], adding to gradients that may be absent.
pub fn backward_into(
    shape: &Shape,
    tensors: [&Tensor; 3],
    parameters: &Parameters,
    statistics: &Statistics,
    gradients: ParameterGradients,
    workspace: &mut Workspace,
) {
    let of_batch = statistics::Statistics::BATCH;
    backward_through(shape, tensors, parameters, (statistics, of_batch), &gradients, workspace);
}

/// Gradients of [`inference`] into dx, which may be x or dy.
pub fn backward_constant(
    shape: &Shape,
    tensors: [&Tensor; 3],
    parameters: &Parameters,
    running: [&[f32]; 2],
    workspace: &mut Workspace,
) -> Gradients {
    gradients(shape, |gradients| {
        backward_constant_into(shape, tensors, parameters, running, gradients, workspace);
    })
}

/// [`backward_constant`], adding to gradients that may be absent.
pub fn backward_constant_into(
    shape: &Shape,
    tensors: [&Tensor; 3],
    parameters: &Parameters,
    [mean, variance]: [&[f32]; 2],
    gradients: ParameterGradients,
    workspace: &mut Workspace,
) {
    let statistics = Statistics { mean: wide(mean), variance: wide(variance) };
    let given = statistics::Statistics::GIVEN;
    backward_through(shape, tensors, parameters, (&statistics, given), &gradients, workspace);
}

fn backward_through(
    shape: &Shape,
    tensors: [&Tensor; 3],
    parameters: &Parameters,
    (values, statistics): (&Statistics, statistics::Statistics),
    gradients: &ParameterGradients,
    workspace: &mut Workspace,
) {
    let layout = shape.layout(&tensors.map(|tensor| &tensor.placement)).expect("a layout");
    workspace.reserve(&layout).expect("memory");
    let (tensors, eps) = ((&memory(tensors), None), parameters.eps);
    restored(values, parameters.naive(layout.channels).gamma, |saved| {
        batch::backward(&layout, tensors, saved, (statistics, None), eps, gradients, workspace);
    });
}

/// The statistics that `run` saves, of so many sets and channels.
pub fn saved([sets, channels]: [usize; 2], run: impl FnOnce(&Saved)) -> Statistics {
    let [mean, variance, gamma] = [sets, sets, channels].map(|len| cells(&vec![f64::NAN; len]));
    run(&Saved::new([&mean, &variance, &gamma]));
    Statistics { mean: values(&mean), variance: values(&variance) }
}

/// Calls `run` with what was saved.
pub fn restored(statistics: &Statistics, gamma: Vec<f64>, run: impl FnOnce(&Saved)) {
    let of = [&statistics.mean, &statistics.variance, &gamma];
    let [mean, variance, gamma] = of.map(|of| cells(of));
    run(&Saved::new([&mean, &variance, &gamma]));
}

/// What `run` adds to gradients of 0.
pub fn gradients(shape: &Shape, run: impl FnOnce(ParameterGradients)) -> Gradients {
    let [gamma, beta] = [(); 2].map(|()| cells(&vec![0.0; shape.channel_count()]));
    run(ParameterGradients { gamma: Some(&gamma), beta: Some(&beta) });
    Gradients { gamma: values(&gamma), beta: values(&beta) }
}
