//! Batch norm against the naive one: random shapes and strides, constant channels,
//! gradients of parameters, running statistics.

mod bounds;
mod kernel;
mod naive;
mod tensors;

use std::cell::Cell;

use batchnorm_kernel::Workspace;
use batchnorm_kernel::layout::{Limits, Order};
use batchnorm_kernel::norm::batch::{self, Given};
use batchnorm_kernel::parameters::{self, ParameterGradients};
use batchnorm_kernel::statistics::Saved;
use bounds::{Bounds, assert_within};
use kernel::{Gradients, Parameters, parameters, running};
use naive::Channels;
use naive::batch::Statistics;
use proptest::prelude::*;
use tensors::random::{Random, for_all};
use tensors::{Case, Placement, Shape, Tensor, activations, cases, cells, values, wide};

fn assert_gradients_within(
    got: (&Tensor, &Gradients),
    truth: &naive::batch::Gradients,
    bound: &naive::batch::Gradients,
) {
    assert_within("dx", &got.0.wide(), &truth.dx, &bound.dx);
    assert_within("dγ", &wide(&got.1.gamma), &truth.gamma, &bound.gamma);
    assert_within("dβ", &wide(&got.1.beta), &truth.beta, &bound.beta);
}

#[test]
fn training_gives_the_naive_statistics_and_results_in_any_shape_and_strides() {
    for_all(100, cases(1..=2000), |Case { shape, operands: [of_x, of_y, _], seed }| {
        let (random, channels) = (&mut Random(seed), shape.channels());
        let x = Tensor::new(&shape, &of_x, &activations(&channels, random));
        let y = Tensor::empty(&shape, &of_y);
        let before = x.bits();
        let parameters = parameters(&shape, random);
        let got = kernel::training(&shape, [&x, &y], &parameters, &mut Workspace::new());

        let (values, parameters) = (x.wide(), parameters.naive(channels.number));
        let bounds = Bounds::worst(&shape.layout(&[&of_x, &of_y]).expect("a layout"));
        let truth = naive::batch::statistics(&channels, &values);
        let errors = bounds.statistics(&channels, &values, &truth);
        assert_within("mean", &got.mean, &truth.mean, &errors.mean);
        assert_within("variance", &got.variance, &truth.variance, &errors.variance);
        let bound = bounds.training(&channels, &values, &parameters);
        assert_within(
            "y",
            &y.wide(),
            &naive::batch::training(&channels, &values, &parameters),
            &bound,
        );
        assert!(x.bits() == before, "x was written");
        [x, y].iter().for_each(Tensor::assert_sentinels);
    });
}

/// Runs in several bands and pieces, of one channel too; short runs; columns, by rows and by
/// strips; each with its number of bands.
fn cut_shapes() -> [(Shape, usize); 5] {
    let limits =
        Limits { band: 3000, slice: 100, block: 300, piece: 256, near: 0, far: usize::MAX };
    let cut = |shape: Shape| Shape { limits, ..shape };
    let by_row = |shape: Shape| Shape { limits: Limits { far: 0, ..limits }, ..shape };
    [
        (cut(Shape::new([2, 9, 600], 1)), 3),
        (cut(Shape::new([1, 6, 4100], 1)), 2),
        (cut(Shape::new([30, 9, 5, 5], 1)), 3),
        (cut(Shape::new([9000, 21], 1)), 1),
        (by_row(Shape::new([900, 80], 1)), 1),
    ]
}

#[test]
fn training_and_its_gradients_in_several_bands_and_pieces_are_within_bounds() {
    for (shape, bands) in cut_shapes() {
        let (random, channels) = (&mut Random(7), shape.channels());
        let [x, dy] = [(); 2].map(|()| Tensor::contiguous(&shape, &activations(&channels, random)));
        let [y, dx] = [(); 2].map(|()| Tensor::empty(&shape, &x.placement));
        let parameters = parameters(&shape, random);
        let workspace = &mut Workspace::new();
        let layout = shape.layout(&[&x.placement; 3]).expect("a layout");
        let mut pieces = [0; 2];
        for (pieces, order) in pieces.iter_mut().zip([Order::Forwards, Order::Backwards]) {
            let all = layout.all_lines();
            layout.walk(&(0..channels.number), all, order, &mut |_| *pieces += 1);
        }
        let blocks = layout.blocks().count();
        assert_eq!(layout.bands(1).count(), bands, "{shape:?}");
        assert!(pieces[0] > 1 && pieces[1] > 1 && blocks > 1, "{shape:?}: {pieces:?}, {blocks}");

        let got = kernel::training(&shape, [&x, &y], &parameters, workspace);
        let gradients = kernel::backward(&shape, [&x, &dy, &dx], &parameters, &got, workspace);
        let (bounds, parameters) = (Bounds::worst(&layout), parameters.naive(channels.number));
        let (x, dy) = (x.wide(), dy.wide());
        let truth = naive::batch::statistics(&channels, &x);
        let errors = bounds.statistics(&channels, &x, &truth);
        assert_within("mean", &got.mean, &truth.mean, &errors.mean);
        assert_within("variance", &got.variance, &truth.variance, &errors.variance);
        let bound = bounds.training(&channels, &x, &parameters);
        assert_within("y", &y.wide(), &naive::batch::training(&channels, &x, &parameters), &bound);
        let truth = naive::batch::backward(&channels, &x, &dy, &parameters);
        let bound = bounds.backward(&channels, &x, &dy, &parameters);
        assert_gradients_within((&dx, &gradients), &truth, &bound);
        [y, dx].iter().for_each(Tensor::assert_sentinels);
    }
}

#[test]
fn statistics_alone_are_those_of_training_to_the_bit() {
    for_all(40, cases(1..=2000), |Case { shape, operands: [.., placement], seed }| {
        let x = activations(&shape.channels(), &mut Random(seed));
        let [x, y] = [(); 2].map(|()| Tensor::new(&shape, &placement, &x));
        let (parameters, workspace) = (Parameters::none(1e-5), &mut Workspace::new());
        let alone = kernel::statistics(&shape, &x, workspace);
        assert_eq!(kernel::training(&shape, [&x, &y], &parameters, workspace), alone);
    });
}

#[test]
fn inference_gives_the_naive_results_in_any_shape_and_strides() {
    for_all(100, cases(1..=2000), |Case { shape, operands: [of_x, of_y, _], seed }| {
        let (random, channels) = (&mut Random(seed), shape.channels());
        let x = Tensor::new(&shape, &of_x, &activations(&channels, random));
        let y = Tensor::empty(&shape, &of_y);
        let [mean, variance] = running(&shape, random);
        let parameters = parameters(&shape, random);
        let statistics = [&mean[..], &variance];
        kernel::inference(&shape, [&x, &y], &parameters, statistics, &mut Workspace::new());

        let (values, parameters) = (x.wide(), parameters.naive(channels.number));
        let statistics = Statistics { mean: wide(&mean), variance: wide(&variance) };
        let truth = naive::batch::inference(&channels, &values, &statistics, &parameters);
        let bound = bounds::affine(&channels, &values, &statistics, &parameters);
        assert_within("y", &y.wide(), &truth, &bound);
        [x, y].iter().for_each(Tensor::assert_sentinels);
    });
}

#[test]
fn backward_gives_the_naive_gradients_in_any_shape_and_strides() {
    for_all(100, cases(1..=2000), |Case { shape, operands, seed }| {
        let (random, channels) = (&mut Random(seed), shape.channels());
        let x = Tensor::new(&shape, &operands[0], &activations(&channels, random));
        let dy = Tensor::new(&shape, &operands[1], &activations(&channels, random));
        let dx = Tensor::empty(&shape, &operands[2]);
        let y = Tensor::empty(&shape, &operands[1]);
        let parameters = parameters(&shape, random);
        let workspace = &mut Workspace::new();
        let statistics = kernel::training(&shape, [&x, &y], &parameters, workspace);
        let got = kernel::backward(&shape, [&x, &dy, &dx], &parameters, &statistics, workspace);

        // The statistics' own bound is that of the forward pass.
        let layouts = [&operands[..2], &operands]
            .map(|operands| shape.layout(&operands.iter().collect::<Vec<_>>()).expect("a layout"));
        let parameters = parameters.naive(channels.number);
        let truth = naive::batch::backward(&channels, &x.wide(), &dy.wide(), &parameters);
        let bounds = Bounds::worst_of(&layouts.each_ref());
        let bound = bounds.backward(&channels, &x.wide(), &dy.wide(), &parameters);
        assert_gradients_within((&dx, &got), &truth, &bound);
        [x, dy, dx].iter().for_each(Tensor::assert_sentinels);
    });
}

#[test]
fn constant_backward_gives_the_naive_gradients_in_any_shape_and_strides() {
    for_all(100, cases(1..=2000), |Case { shape, operands, seed }| {
        let (random, channels) = (&mut Random(seed), shape.channels());
        let x = Tensor::new(&shape, &operands[0], &activations(&channels, random));
        let dy = Tensor::new(&shape, &operands[1], &activations(&channels, random));
        let dx = Tensor::empty(&shape, &operands[2]);
        let [mean, variance] = running(&shape, random);
        let parameters = parameters(&shape, random);
        let (tensors, workspace) = ([&x, &dy, &dx], &mut Workspace::new());
        let statistics = [&mean[..], &variance];
        let got = kernel::backward_constant(&shape, tensors, &parameters, statistics, workspace);

        let statistics = Statistics { mean: wide(&mean), variance: wide(&variance) };
        let (values, gradients) = (x.wide(), dy.wide());
        let parameters = parameters.naive(channels.number);
        let truth = naive::batch::backward_constant(
            &channels,
            &values,
            &gradients,
            &statistics,
            &parameters,
        );
        let layout = shape.layout(&operands.iter().collect::<Vec<_>>()).expect("a layout");
        let bound = Bounds::worst(&layout).backward_constant(
            &channels,
            &values,
            &gradients,
            &statistics,
            &parameters,
        );
        assert_gradients_within((&dx, &got), &truth, &bound);
        [x, dy, dx].iter().for_each(Tensor::assert_sentinels);
    });
}

/// `loss` of values of which each in turn is moved by ±h, as a derivative.
fn slopes(values: &[f64], loss: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    const H: f64 = 1e-5;
    let moved = |i: usize, by: f64| {
        let mut values = values.to_vec();
        values[i] += by;
        loss(&values)
    };
    (0..values.len()).map(|i| (moved(i, H) - moved(i, -H)) / (2.0 * H)).collect()
}

#[test]
fn naive_gradients_are_the_slopes_of_the_naive_forward_pass() {
    let channels = Channels::along(&[3, 2, 4], 1);
    let random = &mut Random(3);
    let mut draw = |len| wide(&random.normals(len, 0.5, 1.0));
    let (x, dy, gamma, beta) = (draw(24), draw(24), draw(2), draw(2));
    let constant = Statistics { mean: draw(2), variance: vec![0.7, 2.0] };
    let parameters = |gamma: &[f64], beta: &[f64]| naive::batch::Parameters {
        gamma: gamma.into(),
        beta: beta.into(),
        eps: 1e-3,
    };
    let forward =
        |x: &[f64], parameters: &naive::batch::Parameters, statistics: Option<&Statistics>| {
            statistics.map_or_else(
                || naive::batch::training(&channels, x, parameters),
                |statistics| naive::batch::inference(&channels, x, statistics, parameters),
            )
        };
    for statistics in [None, Some(&constant)] {
        let loss = |x: &[f64], gamma: &[f64], beta: &[f64]| -> f64 {
            let y = forward(x, &parameters(gamma, beta), statistics);
            y.iter().zip(&dy).map(|(y, dy)| y * dy).sum()
        };
        let parameters = parameters(&gamma, &beta);
        let got = statistics.map_or_else(
            || naive::batch::backward(&channels, &x, &dy, &parameters),
            |statistics| {
                naive::batch::backward_constant(&channels, &x, &dy, statistics, &parameters)
            },
        );
        // Central differences: h² of the third derivative, and 10⁻¹⁶/h of rounding.
        let near = |slopes: Vec<f64>, got: &[f64]| {
            assert_within("slope", got, &slopes, &vec![1e-8; got.len()]);
        };
        near(slopes(&x, |x| loss(x, &gamma, &beta)), &got.dx);
        near(slopes(&gamma, |gamma| loss(&x, gamma, &beta)), &got.gamma);
        near(slopes(&beta, |beta| loss(&x, &gamma, beta)), &got.beta);
    }
}

/// Checks that channels of these constants have their mean, no variance and y = β.
fn assert_constants_give_beta(shape: &Shape, placement: &Placement, constants: &[f32], seed: u64) {
    let (random, channels) = (&mut Random(seed), shape.channels());
    let x: Vec<_> = channels.of.iter().map(|&c| constants[c % constants.len()]).collect();
    let parameters = parameters(shape, random);
    let tensor = Tensor::new(shape, placement, &x);
    let y = Tensor::empty(shape, placement);
    let got = kernel::training(shape, [&tensor, &y], &parameters, &mut Workspace::new());
    let beta = parameters.naive(channels.number).beta;
    for (i, y) in y.wide().iter().enumerate() {
        let channel = channels.of[i];
        let constant = f64::from(constants[channel % constants.len()]);
        assert_eq!(*y, beta[channel], "y of {constant:e}");
        assert_eq!(got.mean[channel], constant, "mean of {constant:e}");
        assert_eq!(got.variance[channel], 0.0, "variance of {constant:e}");
    }
}

#[test]
fn a_constant_channel_gives_exactly_beta_whatever_the_constant() {
    let finite = any::<u32>().prop_map(f32::from_bits).prop_filter("finite", |c| c.is_finite());
    let constants = prop::collection::vec(finite, 1..8);
    for_all(100, (cases(1..=3000), constants), |(case, constants)| {
        let [.., placement] = case.operands;
        assert_constants_give_beta(&case.shape, &placement, &constants, case.seed);
    });
}

#[test]
fn a_constant_channel_gives_exactly_beta_at_the_ends_of_the_range() {
    let constants = [
        1e18,
        -3e38,
        f32::MAX,
        1e-40,
        0.0,
        -0.0,
        f32::MIN_POSITIVE,
        1e-45,
        12_345.678,
        0.1,
        1e-9,
        -16_777_217.0,
        1e19,
    ];
    for shape in [
        Shape::new([2, 13, 2500], 1),
        Shape::new([300, 13], 1),
        Shape::new([3000, 1], 1),
        Shape::new([130, 13, 17], 1),
        Shape::new([90, 13, 7], 1),
    ] {
        let seed = shape.len() as u64;
        assert_constants_give_beta(&shape, &Placement::contiguous(&shape), &constants, seed);
        let reversed: Vec<_> = (0..shape.sizes.len()).rev().collect();
        let transposed = Placement::permuted(&shape, &reversed);
        assert_constants_give_beta(&shape, &transposed, &constants, seed);
    }
    // Every element alone in memory.
    let shape = Shape::new([3000, 13], 1);
    let apart = Placement::sliced(&shape, &[0, 1], &[(0, 1, 0), (0, 2, 0)], 0);
    assert_constants_give_beta(&shape, &apart, &constants, 1);
}

#[test]
fn a_channel_of_gamma_zero_gives_beta_and_no_gradient_of_x() {
    for shape in [Shape::new([4, 2, 40], 1), Shape::new([90, 2], 1)] {
        let random = &mut Random(11);
        let parameters =
            Parameters { gamma: Some(vec![0.0; 2]), beta: Some(vec![0.3, -7.0]), eps: 1e-5 };
        let [x, dy] = [(); 2].map(|()| activations(&shape.channels(), random));
        let [x, dy] = [x, dy].map(|values| Tensor::contiguous(&shape, &values));
        let [y, dx] = [(); 2].map(|()| Tensor::contiguous(&shape, &x.values()));
        let workspace = &mut Workspace::new();
        let statistics = kernel::training(&shape, [&x, &y], &parameters, workspace);
        kernel::backward(&shape, [&x, &dy, &dx], &parameters, &statistics, workspace);
        for (i, &channel) in shape.channels().of.iter().enumerate() {
            assert_eq!(y.values()[i], [0.3, -7.0][channel]);
            assert_eq!(dx.values()[i], 0.0);
        }
    }
}

#[test]
fn parameters_gradients_are_added_to_what_was_there_if_they_are_wanted() {
    for shape in [Shape::new([5, 2, 30], 1), Shape::new([150, 2], 1)] {
        let random = &mut Random(13);
        let [x, dy, dx] =
            [(); 3].map(|()| Tensor::contiguous(&shape, &random.normals(300, 0.0, 1.0)));
        let (parameters, workspace) = (Parameters::none(1e-5), &mut Workspace::new());
        let statistics = kernel::statistics(&shape, &x, workspace);
        let tensors = [&x, &dy, &dx];
        let alone = kernel::backward(&shape, tensors, &parameters, &statistics, workspace);
        let expected_dx = dx.bits();
        for wanted in [[true, true], [true, false], [false, true], [false, false]] {
            let [gamma, beta] = [(); 2].map(|()| cells(&[1000.0f32, -0.25]));
            let gradients = ParameterGradients {
                gamma: wanted[0].then_some(&gamma[..]),
                beta: wanted[1].then_some(&beta[..]),
            };
            kernel::backward_into(&shape, tensors, &parameters, &statistics, gradients, workspace);
            assert!(dx.bits() == expected_dx, "dx");
            for (cells, added, wanted) in
                [(gamma, &alone.gamma, wanted[0]), (beta, &alone.beta, wanted[1])]
            {
                for (got, (before, added)) in
                    values(&cells).iter().zip([1000.0, -0.25].iter().zip(added))
                {
                    let expected = if wanted { before + f64::from(*added) } else { *before };
                    // Added in f64, rounded once; what was added had been rounded as well.
                    let bound = 2.0 * bounds::U * (expected.abs() + f64::from(added.abs()));
                    assert!((f64::from(*got) - expected).abs() <= bound, "{got} is not {expected}");
                }
            }
        }
    }
}

#[test]
fn rounding_one_over_sigma_to_f32_leaves_no_trace_in_dgamma() {
    // One product in each lane, all of them 1/σ: what is not exact is 1/σ itself.
    let shape = Shape::new([1, 1, 6], 1);
    let signs = [1.0, -1.0, 1.0, -1.0, 1.0, -1.0];
    let [x, dy, dx] = [(); 3].map(|()| Tensor::contiguous(&shape, &signs));
    let workspace = &mut Workspace::new();
    for thousandths in 1..100 {
        let eps = f64::from(thousandths) * 1e-3;
        let parameters = Parameters::none(eps);
        let statistics = kernel::statistics(&shape, &x, workspace);
        let got = kernel::backward(&shape, [&x, &dy, &dx], &parameters, &statistics, workspace);
        assert_eq!(got.gamma, [(6.0 / (1.0 + eps).sqrt()) as f32], "ε = {eps}");
    }
}

#[test]
fn sums_of_dy_beyond_the_range_of_f32_do_not_reach_dx() {
    // As x is constant no product of x̂ and dy shows that a sum of dy overflowed.
    let shape = Shape::new([1, 1, 2048], 1);
    let x = Tensor::contiguous(&shape, &[0.5; 2048]);
    let dy: Vec<_> = (0..2048).map(|i| if i % 16 == 0 { 2e37 } else { -2e37 }).collect();
    let [dy, dx] = [(); 2].map(|()| Tensor::contiguous(&shape, &dy));
    let statistics = Statistics { mean: vec![0.5], variance: vec![0.0] };
    let (parameters, workspace) = (Parameters::none(1.0), &mut Workspace::new());
    kernel::backward(&shape, [&x, &dy, &dx], &parameters, &statistics, workspace);
    let truth =
        naive::batch::backward(&shape.channels(), &x.wide(), &dy.wide(), &parameters.naive(1));
    let bound: Vec<_> = truth.dx.iter().map(|dx| 4.0 * bounds::U * dx.abs()).collect();
    assert_within("dx", &dx.wide(), &truth.dx, &bound);
}

#[test]
fn constant_backward_without_parameters_gradients_gives_the_same_dx_and_reads_no_x() {
    for shape in [Shape::new([5, 2, 30], 1), Shape::new([100, 3], 1)] {
        let random = &mut Random(17);
        let [x, dy, dx, alone] =
            [(); 4].map(|()| Tensor::contiguous(&shape, &random.normals(300, 0.0, 1.0)));
        let [mean, variance] = running(&shape, random);
        let (parameters, statistics) = (Parameters::none(1e-5), [&mean[..], &variance]);
        let workspace = &mut Workspace::new();
        kernel::backward_constant(&shape, [&x, &dy, &dx], &parameters, statistics, workspace);

        let none = ParameterGradients { gamma: None, beta: None };
        let unread = Tensor::contiguous(&shape, &[f32::NAN; 300]);
        let tensors = [&unread, &dy, &alone];
        kernel::backward_constant_into(&shape, tensors, &parameters, statistics, none, workspace);
        assert!(alone.bits() == dx.bits());
    }
}

#[test]
fn running_statistics_move_by_the_weight_of_the_new_ones() {
    let step = |weight, correction| {
        let running = [cells(&[1.0f32, -2.0]), cells(&[1.0f32, 4.0])];
        let batch = [cells(&[2.0f64, 8.0]), cells(&[3.0f64, 0.5])];
        let statistics = running.each_ref().map(|values| &values[..]);
        let [mean, variance] = batch.each_ref().map(|values| &values[..]);
        let saved = Saved::new([mean, variance, &[]]);
        batch::update_running(statistics, &saved, weight, correction);
        running.map(|cells: Vec<Cell<f32>>| values(&cells))
    };
    assert_eq!(step(0.0, 2.0), [[1.0, -2.0], [1.0, 4.0]]);
    assert_eq!(step(1.0, 1.0), [[2.0, 8.0], [3.0, 0.5]]);
    // n/(n − 1) belongs to the variance alone.
    assert_eq!(step(0.5, 2.0), [[1.5, 3.0], [3.5, 2.5]]);
    assert_eq!(step(0.1, 1.0), [[1.1, -1.0], [1.2, 3.65]]);
}

#[test]
fn a_forward_pass_by_given_statistics_saves_them_and_gamma() {
    // An empty batch's as well.
    for shape in [Shape::new([2, 3], 1), Shape::new([0, 3], 1)] {
        let layout = shape.layout(&[&Placement::contiguous(&Shape::new([1, 1], 1))]);
        let layout = layout.expect("a layout");
        let workspace = &mut Workspace::new();
        workspace.reserve(&layout).expect("memory");
        let given = [cells(&[1.5f32, -2.0, f32::NAN]), cells(&[0.25f32, 0.0, 3.0])];
        let given = given.each_ref().map(|values| &values[..]);
        let gamma = cells(&[2.0f32, -0.1, 7.0]);
        let [x, y] = [(); 2].map(|()| cells(&vec![0.0f32; shape.len()]));
        for gamma in [Some(&gamma[..]), None] {
            let saved = [(); 3].map(|()| cells(&[0.0f64; 3]));
            let [mean, variance, saved_gamma] = saved.each_ref().map(|values| &values[..]);
            batch::forward(
                &layout,
                (&[&x, &y, &[]], None),
                &parameters::Parameters { gamma, beta: None, eps: 1e-5 },
                Some(Given::Vectors(given)),
                None,
                Some(&Saved::new([mean, variance, saved_gamma])),
                workspace,
            );
            let gamma = gamma.map_or(vec![1.0; 3], values);
            for (saved, given) in saved.iter().zip([values(given[0]), values(given[1]), gamma]) {
                assert_eq!(format!("{:?}", values(saved)), format!("{:?}", wide(&given)));
            }
        }
    }
}
