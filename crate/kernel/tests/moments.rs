//! Moments of parts, merged, are the moments of the whole.

mod kernel;
mod naive;
mod tensors;

use batchnorm_kernel::Workspace;
use batchnorm_kernel::moments::{CoMoments, Moments};
use batchnorm_kernel::sweep::Merge;
use kernel::Parameters;
use naive::{Channels, mean, sum};
use proptest::prelude::*;
use tensors::{Random, Shape, Tensor, for_all, wide};

fn moments(x: &[f64]) -> Moments {
    let channels = Channels::along(&[1, x.len() as u32], 0);
    let statistics = naive::statistics(&channels, x);
    let count = x.len() as f64;
    Moments { count, mean: statistics.mean[0], m2: statistics.variance[0] * count }
}

fn co_moments(x: &[f64], dy: &[f64]) -> CoMoments {
    let (mean_x, mean_dy) = (mean(x), mean(dy));
    let products: Vec<_> = x.iter().zip(dy).map(|(x, dy)| (x - mean_x) * (dy - mean_dy)).collect();
    CoMoments { count: x.len() as f64, mean_x, mean_dy, co: sum(&products) }
}

fn merged<M: Merge>(parts: impl IntoIterator<Item = M>) -> M {
    let mut whole = M::default();
    for part in parts {
        whole.merge(&part);
    }
    whole
}

fn assert_near(got: f64, expected: f64, size: f64) {
    assert!((got - expected).abs() <= 1e-14 * size, "{got} is not {expected}");
}

/// Values around a mean that is large or not, and where they are parted.
fn parted() -> impl Strategy<Value = (u64, f64, usize, Vec<usize>)> {
    let parts = prop::collection::vec(1..400usize, 1..6);
    (any::<u64>(), -1e4..1e4f64, 1..100usize, parts)
}

#[test]
fn moments_of_parts_merge_to_those_of_the_whole() {
    for_all(200, parted(), |(seed, offset, first, parts)| {
        let mut random = Random(seed);
        let parts = [vec![first], parts].concat();
        let parts = parts.iter().map(|&len| wide(&random.normals(len, offset, 1.0)));
        let parts: Vec<_> = parts.collect();
        let whole = moments(&parts.concat());
        for got in [
            merged(parts.iter().map(|part| moments(part))),
            merged(parts.iter().rev().map(|part| moments(part))),
        ] {
            assert_eq!(got.count, whole.count);
            assert_near(got.mean, whole.mean, offset.abs() + 1.0);
            // Means of parts are of order 1 apart, each rounded as the offset is.
            assert_near(got.m2, whole.m2, whole.count * (offset.abs() + 1.0));
        }
    });
}

#[test]
fn co_moments_of_parts_merge_to_those_of_the_whole() {
    for_all(200, parted(), |(seed, offset, first, parts)| {
        let mut random = Random(seed);
        let parts: Vec<_> = [vec![first], parts]
            .concat()
            .iter()
            .map(|&len| {
                let x = random.normals(len, 0.3, 1.0);
                (wide(&x), wide(&random.normals(len, offset, 1.0)))
            })
            .collect();
        let (x, dy): (Vec<_>, Vec<_>) = parts.iter().cloned().unzip();
        let whole = co_moments(&x.concat(), &dy.concat());
        let got = merged(parts.iter().map(|(x, dy)| co_moments(x, dy)));
        assert_eq!(got.count, whole.count);
        assert_near(got.mean_x, whole.mean_x, 1.0);
        assert_near(got.mean_dy, whole.mean_dy, offset.abs() + 1.0);
        assert_near(got.co, whole.co, whole.count * (offset.abs() + 1.0));
    });
}

#[test]
fn merging_nothing_changes_nothing() {
    let some = moments(&[3.0, 1e30, -7.25]);
    let none = Moments::default();
    assert_eq!(merged([some, none]), some);
    assert_eq!(merged([none, some]), some);
    assert_eq!(merged([none, none]), none);
    let some = co_moments(&[3.0, 1e30, -7.25], &[1.0, 2.0, 1e30]);
    let none = CoMoments::default();
    assert_eq!(merged([some, none]), some);
    assert_eq!(merged([none, some]), some);
    assert_eq!(merged([none, none]), none);
}

#[test]
fn a_constant_stays_without_spread_however_often_it_is_merged() {
    for value in [12_345.678f32, 3e38, 1e-40, -0.1] {
        let part = Moments { count: 7.0, mean: f64::from(value), m2: 0.0 };
        assert_eq!(merged([part; 100]), Moments { count: 700.0, ..part });
    }
}

#[test]
fn statistics_of_two_batches_merge_to_those_of_both() {
    let statistics = |shape: &Shape, x: &[f32]| {
        let [x, y] = [(); 2].map(|()| Tensor::contiguous(shape, x));
        kernel::training(shape, [&x, &y], &Parameters::none(1e-5), &mut Workspace::new())
    };
    let (half, both) = (Shape::new([2, 3, 2048], 1), Shape::new([4, 3, 2048], 1));
    let x = Random(7).normals(both.len(), 100.0, 1.0);
    let halves = [&x[..half.len()], &x[half.len()..]].map(|x| statistics(&half, x));
    let whole = statistics(&both, &x);
    for channel in 0..3 {
        let moments = halves.each_ref().map(|half| {
            let (mean, variance) = (half.mean[channel], half.variance[channel]);
            Moments { count: 4096.0, mean, m2: variance * 4096.0 }
        });
        let merged = merged(moments);
        // A run is a block in both, and so are the roundings in f32.
        assert_near(merged.mean, whole.mean[channel], 100.0);
        assert_near(merged.variance(), whole.variance[channel], 100.0);
    }
}
