//! What the kernel guesses about a channel before it has seen it, guessed wrong.

mod kernel;
mod naive;
mod tensors;

use batchnorm_kernel::Workspace;
use kernel::Parameters;
use tensors::random::Random;
use tensors::{Shape, Tensor, wide};

/// A run, short runs, columns, and columns with a few left over.
fn shapes() -> [Shape; 4] {
    [
        Shape::new([1, 2, 4000], 1),
        Shape::new([40, 3, 10, 10], 1),
        Shape::new([4000, 16], 1),
        Shape::new([4000, 19], 1),
    ]
}

/// Relative error of the variance and error of the mean in standard deviations.
fn errors(shape: &Shape, values: &[f32]) -> (f64, f64) {
    let [x, y] = [(); 2].map(|()| Tensor::contiguous(shape, values));
    let got = kernel::training(shape, [&x, &y], &Parameters::none(1e-5), &mut Workspace::new());
    let truth = naive::batch::statistics(&shape.channels(), &wide(values));
    let (mut variance, mut mean) = (0.0f64, 0.0f64);
    for c in 0..shape.channel_count() {
        let of = truth.variance[c];
        variance = variance.max((got.variance[c] - of).abs() / of);
        mean = mean.max((got.mean[c] - truth.mean[c]).abs() / of.sqrt());
    }
    (variance, mean)
}

#[test]
fn samples_that_mislead_cost_no_accuracy() {
    for shape in shapes() {
        let channels = shape.channels();
        let count = shape.len() / channels.number;
        let mut seen = vec![0usize; channels.number];
        let mut random = Random(3);
        let values: Vec<_> = channels
            .of
            .iter()
            .map(|&channel| {
                let index = seen[channel];
                seen[channel] += 1;
                // Where the kernel looks, and beside it.
                let near = (0..8u32).any(|i| {
                    let share = f64::from(i.wrapping_mul(0x9E37_79B9).wrapping_add(1 << 31));
                    index.abs_diff((count as f64 * share / 2f64.powi(32)) as usize) <= 1
                });
                random.normal() as f32 + if near { 3000.0 } else { 0.0 }
            })
            .collect();
        let (variance, mean) = errors(&shape, &values);
        assert!(variance < 5e-7 && mean < 5e-7, "{shape:?}: {variance:e}, {mean:e}");
    }
}

#[test]
fn a_channel_that_moves_away_from_where_it_began_costs_no_accuracy() {
    for shape in shapes() {
        let channels = shape.channels();
        let mut seen = 0;
        let mut random = Random(4);
        let values: Vec<_> = channels
            .of
            .iter()
            .map(|_| {
                seen += 1;
                let moved = seen > channels.of.len() / 10;
                random.normal() as f32 + if moved { 1e5 } else { 0.0 }
            })
            .collect();
        let (variance, mean) = errors(&shape, &values);
        assert!(variance < 5e-7 && mean < 5e-7, "{shape:?}: {variance:e}, {mean:e}");
    }
}

#[test]
fn one_channel_out_of_range_leaves_the_others_to_the_bit() {
    for shape in shapes() {
        let channels = shape.channels();
        let values = Random(5).normals(shape.len(), 10.0, 1.0);
        let statistics = |values: &[f32]| {
            let [x, y] = [(); 2].map(|()| Tensor::contiguous(&shape, values));
            // Any larger ε would decide about the smallest ones.
            kernel::training(&shape, [&x, &y], &Parameters::none(0.0), &mut Workspace::new())
        };
        let all = statistics(&values);
        for factor in [0.0, 1e-25, 1e25] {
            let scaled: Vec<_> = values
                .iter()
                .zip(&channels.of)
                .map(|(value, &channel)| if channel == 0 { value * factor } else { *value })
                .collect();
            let some = statistics(&scaled);
            assert_eq!(some.mean[1..], all.mean[1..], "{shape:?}");
            assert_eq!(some.variance[1..], all.variance[1..], "{shape:?}");
            // Scaled by no power of two, x was rounded once more.
            let ratio = some.variance[0] / (all.variance[0] * f64::from(factor).powi(2));
            assert!(factor == 0.0 || (ratio - 1.0).abs() < 1e-5, "{shape:?}: {ratio}");
        }
    }
}

/// Channels whose squares f32 can't hold, beside a usual one: 0, a constant, values of 1e-20.
fn dead(shape: &Shape) -> Vec<f32> {
    let mut random = Random(6);
    let value = |&channel: &usize| match channel {
        0 => 0.0,
        1 => 0.3,
        2 => 1e-20 * random.normal() as f32,
        _ => random.normal() as f32,
    };
    shape.channels().of.iter().map(value).collect()
}

fn dead_shapes() -> [Shape; 5] {
    [
        Shape::new([1, 4, 4000], 1),
        Shape::new([40, 4, 10, 10], 1),
        Shape::new([500, 4, 3], 1),
        Shape::new([4000, 16], 1),
        Shape::new([4000, 19], 1),
    ]
}

#[test]
fn dead_channels_beside_an_epsilon_that_decides_have_their_means_and_y_but_no_variance() {
    for shape in dead_shapes() {
        let (channels, values) = (shape.channels(), dead(&shape));
        let [x, y] = [(); 2].map(|()| Tensor::contiguous(&shape, &values));
        let parameters = Parameters::none(1e-5);
        let got = kernel::training(&shape, [&x, &y], &parameters, &mut Workspace::new());
        let truth = naive::batch::statistics(&channels, &wide(&values));
        assert_eq!([got.mean[0], got.mean[1]], [0.0, f64::from(0.3f32)], "{shape:?}");
        assert_eq!([got.variance[0], got.variance[1]], [0.0; 2], "{shape:?}");
        assert!((got.mean[2] - truth.mean[2]).abs() < 1e-6 * 1e-20, "{shape:?}");
        assert!(got.variance[2] < 1e-30, "{shape:?}");
        assert!((got.variance[3] / truth.variance[3] - 1.0).abs() < 1e-6, "{shape:?}");
        let expected =
            naive::batch::training(&channels, &wide(&values), &parameters.naive(channels.number));
        for (i, (y, expected)) in y.wide().iter().zip(expected).enumerate() {
            // 1e-20 beside the root of ε, and 1 of the others.
            let size = [0.0, 0.0, 1e-17, 1.0][channels.of[i].min(3)];
            assert!((y - expected).abs() <= 2e-6 * size, "{shape:?}: {y:e} is not {expected:e}");
        }
    }
}

#[test]
fn dead_channels_have_all_their_digits_where_epsilon_does_not_decide() {
    for shape in dead_shapes() {
        let (channels, values) = (shape.channels(), dead(&shape));
        let truth = naive::batch::statistics(&channels, &wide(&values));
        for eps in [0.0, 0.9e-12] {
            let [x, y] = [(); 2].map(|()| Tensor::contiguous(&shape, &values));
            let parameters = Parameters::none(eps);
            let got = kernel::training(&shape, [&x, &y], &parameters, &mut Workspace::new());
            assert_eq!([got.mean[0], got.mean[1]], [0.0, f64::from(0.3f32)], "{shape:?}");
            assert_eq!([got.variance[0], got.variance[1]], [0.0; 2], "{shape:?}");
            for (i, y) in y.wide().iter().enumerate() {
                assert!(channels.of[i] > 1 || *y == 0.0, "{shape:?}: {y:e}");
            }
            for channel in 2..channels.number {
                let ratio = got.variance[channel] / truth.variance[channel];
                assert!((ratio - 1.0).abs() < 1e-6, "{shape:?}: {ratio}");
            }
        }
    }
}
