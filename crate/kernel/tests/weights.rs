//! Batch norm whose statistics count elements by their weights.

mod bounds;
mod kernel;
mod naive;
mod tensors;

use std::cell::Cell;

use batchnorm_kernel::Workspace;
use batchnorm_kernel::layout::{Layout, Limits};
use batchnorm_kernel::norm::batch;
use batchnorm_kernel::statistics::Statistics as Kind;
use batchnorm_kernel::sweep::Weights;
use bounds::{Bounds, U, assert_within};
use kernel::{Gradients, Parameters, parameters};
use naive::Channels;
use naive::batch::Statistics;
use naive::weights as truth;
use tensors::random::{Random, for_all};
use tensors::{Case, Placement, Shape, Tensor, activations, cases, cells, wide};

/// The weight of each element, of weights of a channel's elements.
fn spread(shape: &Shape, each: &[f32]) -> Vec<f64> {
    let inner: usize = shape.sizes[shape.axis + 1..].iter().map(|&size| size as usize).product();
    let block = inner * shape.channel_count();
    (0..shape.len()).map(|i| f64::from(each[i / block * inner + i % inner])).collect()
}

/// Whole numbers from 0 to 3, not all of them 0.
fn whole(count: usize, random: &mut Random) -> Vec<f32> {
    let mut each: Vec<_> = (0..count).map(|_| random.below(4) as f32).collect();
    each[random.below(count)] = 1.0;
    each
}

fn with_weights<R>(
    layout: &Layout,
    each: &[f32],
    workspace: &mut Workspace,
    run: impl FnOnce(Weights, &mut Workspace) -> R,
) -> R {
    workspace.reserve(layout).expect("memory");
    workspace.reserve_packed(Weights::room(layout)).expect("memory");
    let total = each.iter().map(|&weight| f64::from(weight)).sum();
    run(Weights { each: &cells(each), total }, workspace)
}

/// Normalizes x into y.
fn training(
    shape: &Shape,
    [x, y]: [&Tensor; 2],
    each: &[f32],
    parameters: &Parameters,
    workspace: &mut Workspace,
) -> Statistics {
    let layout = shape.layout(&[&x.placement, &y.placement]).expect("a layout");
    let tensors = (&[x.cells(), y.cells(), x.cells()], None);
    with_weights(&layout, each, workspace, |weights, workspace| {
        kernel::saved([layout.channels; 2], |saved| {
            parameters.with(|parameters| {
                let weights = Some(&weights);
                batch::forward(&layout, tensors, parameters, None, weights, Some(saved), workspace);
            });
        })
    })
}

fn statistics(shape: &Shape, x: &Tensor, each: &[f32]) -> Statistics {
    let layout = shape.layout(&[&x.placement]).expect("a layout");
    with_weights(&layout, each, &mut Workspace::new(), |weights, workspace| {
        kernel::saved([layout.channels; 2], |saved| {
            batch::statistics(&layout, x.cells(), Some(&weights), saved, workspace);
        })
    })
}

/// Gradients of [`training`] into dx.
fn backward(
    shape: &Shape,
    tensors: [&Tensor; 3],
    each: &[f32],
    parameters: &Parameters,
    statistics: &Statistics,
    workspace: &mut Workspace,
) -> Gradients {
    let layout = shape.layout(&tensors.map(|tensor| &tensor.placement)).expect("a layout");
    let (tensors, eps) = ((&tensors.map(Tensor::cells), None), parameters.eps);
    let gamma = parameters.naive(layout.channels).gamma;
    kernel::gradients(shape, |gradients| {
        with_weights(&layout, each, workspace, |weights, workspace| {
            let taken = (Kind::BATCH, Some(&weights));
            kernel::restored(statistics, gamma, |saved| {
                batch::backward(&layout, tensors, saved, taken, eps, &gradients, workspace);
            });
        });
    })
}

/// Each element so often as its weight says.
fn repeated(channels: &Channels, x: &[f64], weights: &[f64]) -> (Channels, Vec<f64>) {
    let all = (0..x.len()).flat_map(|i| (0..weights[i] as usize).map(move |_| i));
    let (of, x) = all.map(|i| (channels.of[i], x[i])).unzip();
    (Channels::new(of, channels.number), x)
}

fn assert_case(Case { shape, operands, seed }: &Case) {
    let (random, channels) = (&mut Random(*seed), shape.channels());
    let [x, dy] = [0, 1].map(|k| Tensor::new(shape, &operands[k], &activations(&channels, random)));
    let [y, dx] = [1, 2].map(|k| Tensor::empty(shape, &operands[k]));
    let each = whole(shape.len() / channels.number, random);
    let (parameters, workspace) = (parameters(shape, random), &mut Workspace::new());
    let got = training(shape, [&x, &y], &each, &parameters, workspace);

    let (values, weights) = (x.wide(), spread(shape, &each));
    let layout = shape.layout(&[&x.placement, &y.placement]).expect("a layout");
    let bounds = Bounds::weighted(&layout, 3.0);
    let want = truth::statistics(&channels, &values, &weights);
    let (often, all) = repeated(&channels, &values, &weights);
    let errors = bounds.statistics(&often, &all, &want);
    assert_within("mean", &got.mean, &want.mean, &errors.mean);
    assert_within("variance", &got.variance, &want.variance, &errors.variance);
    let naive = parameters.naive(channels.number);
    let normalized = naive::batch::inference(&channels, &values, &got, &naive);
    let bound = bounds::affine(&channels, &values, &got, &naive);
    assert_within("y", &y.wide(), &normalized, &bound);

    // By the statistics that were taken: sums are those through constant ones, of all elements.
    let gradients = backward(shape, [&x, &dy, &dx], &each, &parameters, &got, workspace);
    let gradient = dy.wide();
    let want = truth::backward(&channels, [&values, &gradient, &weights], &got, &naive);
    let layout = shape.layout(&operands.iter().collect::<Vec<_>>()).expect("a layout");
    let sums =
        Bounds::worst(&layout).backward_constant(&channels, &values, &gradient, &got, &naive);
    assert_within("dγ", &wide(&gradients.gamma), &want.gamma, &sums.gamma);
    assert_within("dβ", &wide(&gradients.beta), &want.beta, &sums.beta);
    let totals = truth::totals(&channels, &weights);
    let x_hat = naive::batch::normalized_by(&got, &channels, &values, naive.eps);
    let bound = channels.map(|i, c| {
        let inverse_std = got.inverse_std(c, naive.eps);
        let scale = (naive.gamma[c] * inverse_std).abs();
        let share = weights[i] / totals[c];
        // |x̂| as it is computed with the mean rounded to f32.
        let x = x_hat[i].abs() + U * got.mean[c].abs() * inverse_std;
        let of_sums = sums.beta[c] + x * sums.gamma[c];
        // Five roundings of dy, six of the mean of dy, nine of x and the slope.
        let terms = 5.0 * gradient[i].abs()
            + share * (6.0 * want.beta[c].abs() + 9.0 * x * want.gamma[c].abs());
        // The slope, that is s·dγ/W, can be a denormal.
        let denormal = f64::from(f32::MIN_POSITIVE) * (1.0 + x / inverse_std.max(1e-300));
        if scale == 0.0 {
            0.0
        } else {
            scale * (share * of_sums + U * terms + U * denormal) + 1e-45
        }
    });
    assert_within("dx", &dx.wide(), &want.dx, &bound);
    [x, dy, y, dx].iter().for_each(Tensor::assert_sentinels);
}

#[test]
fn weights_give_the_naive_statistics_results_and_gradients_in_any_shape_and_strides() {
    for_all(250, cases(1..=2000), |case| assert_case(&case));
}

#[test]
fn weights_are_those_of_their_elements_in_every_block_and_piece() {
    let limits =
        Limits { band: 3000, slice: 100, block: 300, piece: 256, near: 0, far: usize::MAX };
    for shape in [
        Shape::new([2, 9, 600], 1),
        Shape::new([1, 6, 4100], 1),
        Shape::new([30, 9, 5, 5], 1),
        Shape::new([9000, 21], 1),
        Shape::new([900, 80], 1),
        Shape::new([3000, 3], 1),
        Shape::new([700, 5, 3], 1),
        Shape::new([6, 20, 7], 2),
    ] {
        for limits in [limits, Limits { far: 0, ..limits }, Limits::DEFAULT] {
            let shape = Shape { limits, ..shape.clone() };
            let operand = Placement::contiguous(&shape);
            assert_case(&Case { shape, operands: [(); 3].map(|()| operand.clone()), seed: 9 });
        }
    }
}

#[test]
fn weights_of_one_give_the_statistics_of_none_to_the_bit() {
    for_all(60, cases(1..=2000), |Case { shape, operands: [placement, ..], seed }| {
        let channels = shape.channels();
        let x = Tensor::new(&shape, &placement, &activations(&channels, &mut Random(seed)));
        let each = vec![1.0; shape.len() / channels.number];
        let plain = kernel::statistics(&shape, &x, &mut Workspace::new());
        assert_eq!(statistics(&shape, &x, &each), plain);
    });
}

#[test]
fn what_is_weighted_0_changes_no_bit_of_anything_else_whatever_it_is() {
    for_all(60, cases(2..=2000), |Case { shape, operands: [.., placement], seed }| {
        let (random, channels) = (&mut Random(seed), shape.channels());
        let values = activations(&channels, random);
        let each = whole(shape.len() / channels.number, random);
        let weights = spread(&shape, &each);
        let run = |other: f32| {
            let places = values.iter().zip(&weights);
            let values: Vec<_> = places.map(|(x, w)| if *w > 0.0 { *x } else { other }).collect();
            let [x, y] = [(); 2].map(|()| Tensor::new(&shape, &placement, &values));
            let parameters = Parameters::none(1e-5);
            let got = training(&shape, [&x, &y], &each, &parameters, &mut Workspace::new());
            let y = y.values().into_iter().zip(&weights);
            (got, y.filter(|(_, w)| **w > 0.0).map(|(y, _)| y.to_bits()).collect::<Vec<_>>())
        };
        let zero = run(0.0);
        for other in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, 1e-40] {
            assert!(run(other) == zero, "{other} in {shape:?}");
        }
    });
}

#[test]
fn squares_that_leave_the_range_of_f32_are_summed_up_with_their_weights() {
    for shape in [Shape::new([3, 2, 50], 1), Shape::new([60, 5], 1), Shape::new([40, 2, 3], 1)] {
        for size in [1e-35f32, 1e-25, 1e20, 1e30] {
            let (random, channels) = (&mut Random(3), shape.channels());
            let values: Vec<_> =
                random.normals(shape.len(), 1.0, 1.0).iter().map(|x| x * size).collect();
            let each = whole(shape.len() / channels.number, random);
            let x = Tensor::contiguous(&shape, &values);
            let got = statistics(&shape, &x, &each);
            let want = truth::statistics(&channels, &wide(&values), &spread(&shape, &each));
            for c in 0..channels.number {
                let near = |got: f64, want: f64| (got - want).abs() <= 1e-12 * want.abs();
                assert!(near(got.mean[c], want.mean[c]), "{size} in {shape:?}: mean");
                assert!(near(got.variance[c], want.variance[c]), "{size} in {shape:?}: variance");
            }
        }
    }
}

#[test]
fn a_pivot_is_taken_of_what_counts_however_little_that_is() {
    let each: Vec<_> = [0.0, 2.0, 0.0, 0.0, f32::NAN, -1.0].map(Cell::new).to_vec();
    let weights = Weights { each: &each, total: 2.0 };
    assert_eq!((0..6).map(|index| weights.counted(index)).collect::<Vec<_>>(), [1; 6]);
    let none = Weights { each: &[const { Cell::new(0.0) }; 3], total: 0.0 };
    assert_eq!((0..3).map(|index| none.counted(index)).collect::<Vec<_>>(), [0, 1, 2]);
}
