//! Layer and RMS norm and unit length against the naive ones: random shapes and strides, rows that are parted, long,
//! short, constant, far from 0 or no numbers.

mod bounds;
mod kernel;
mod naive;
mod tensors;

use batchnorm_kernel::Workspace;
use batchnorm_kernel::layout::{Layout, Limits};
use batchnorm_kernel::norm::layer;
use batchnorm_kernel::statistics::Statistics as Own;
use bounds::{Bounds, assert_within};
use kernel::{Gradients, Parameters, parameters};
use naive::batch::Statistics;
use naive::layer::{Around, Rows};
use proptest::prelude::*;
use tensors::random::{Random, for_all};
use tensors::{Placement, Shape, Tensor, activations, values, wide};

/// What rows are normalized to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Norm {
    Layer,
    Rms,
    /// Unit length: RMS norm with γ/√m, of m elements, and without ε.
    Unit,
}

const ALL: [Norm; 3] = [Norm::Layer, Norm::Rms, Norm::Unit];

impl Norm {
    /// Its name in the kernel.
    fn own(self) -> Own {
        match self {
            Self::Layer => Own::BATCH,
            Self::Rms => Own::SQUARES,
            Self::Unit => Own::SUMS_OF_SQUARES,
        }
    }

    fn around(self) -> Around {
        if self == Self::Layer { Around::Mean } else { Around::Zero }
    }

    /// What γ is to be multiplied with for the naive one, and its gradient.
    fn factor(self, shape: &Shape) -> f64 {
        if self == Self::Unit { 1.0 / (shape.channel_count() as f64).sqrt() } else { 1.0 }
    }

    /// γ and β or none, and an ε that it takes.
    fn parameters(self, shape: &Shape, random: &mut Random) -> Parameters {
        let given = parameters(shape, random);
        if self == Self::Unit { Parameters { eps: 1e-12, ..given } } else { given }
    }

    /// Of the naive one.
    fn naive(self, shape: &Shape, parameters: &Parameters) -> naive::batch::Parameters {
        let mut naive = parameters.naive(shape.channel_count());
        naive.gamma.iter_mut().for_each(|gamma| *gamma *= self.factor(shape));
        naive::batch::Parameters { eps: if self == Self::Unit { 0.0 } else { naive.eps }, ..naive }
    }
}

/// Rows along the last dimension, which the shape has for its channels.
fn rows<const R: usize>(sizes: [u32; R]) -> Shape {
    Shape::new(sizes, R - 1)
}

/// Normalizes x into y, which may be x.
fn forward(
    shape: &Shape,
    [x, y]: [&Tensor; 2],
    norm: Norm,
    parameters: &Parameters,
    workspace: &mut Workspace,
) -> Statistics {
    let layout = shape.layout(&[&x.placement, &y.placement]).expect("a layout");
    let slab = &mut Layout::default();
    layer::reserve(&layout, (slab, workspace)).expect("memory");
    let (tensors, own) = ([x.cells(), y.cells()], norm.own());
    kernel::saved([layout.count, layout.channels], |saved| {
        parameters.with(|parameters| {
            layer::forward(&layout, tensors, own, parameters, Some(saved), (slab, workspace));
        });
        assert_eq!(values(saved.gamma), parameters.naive(layout.channels).gamma);
    })
}

/// Gradients of [`forward`] into dx, which may be x or dy.
fn backward(
    shape: &Shape,
    tensors: [&Tensor; 3],
    norm: Norm,
    parameters: &Parameters,
    statistics: &Statistics,
    workspace: &mut Workspace,
) -> Gradients {
    let layout = shape.layout(&tensors.map(|tensor| &tensor.placement)).expect("a layout");
    let slab = &mut Layout::default();
    layer::reserve(&layout, (slab, workspace)).expect("memory");
    let (tensors, own, eps) = (tensors.map(Tensor::cells), norm.own(), parameters.eps);
    kernel::gradients(shape, |gradients| {
        kernel::restored(statistics, parameters.naive(layout.channels).gamma, |saved| {
            layer::backward(&layout, tensors, own, saved, eps, &gradients, (slab, workspace));
        });
    })
}

/// Checks both passes on random values.
fn check(shape: &Shape, [of_x, of_y, of_dx]: [&Placement; 3], norm: Norm, seed: u64) {
    let (random, rows) = (&mut Random(seed), Rows::of(&shape.sizes, norm.around()));
    let x = Tensor::new(shape, of_x, &activations(&rows.channels, random));
    let dy = Tensor::new(shape, of_y, &activations(&rows.channels, random));
    let [y, dx] = [of_y, of_dx].map(|placement| Tensor::empty(shape, placement));
    let before = [x.bits(), dy.bits()];
    let parameters = norm.parameters(shape, random);
    let workspace = &mut Workspace::new();
    let got = forward(shape, [&x, &y], norm, &parameters, workspace);
    let gradients = backward(shape, [&x, &dy, &dx], norm, &parameters, &got, workspace);

    let layout = shape.layout(&[of_x, of_y]).expect("a layout");
    let mut slab = Layout::default();
    slab.rows(&layout, 0, usize::MAX);
    let bounds = Bounds::worst(&slab);
    let (parameters, factor) = (norm.naive(shape, &parameters), norm.factor(shape));
    assert!([x.bits(), dy.bits()] == before, "x or dy was written");
    let [x, dy] = [x, dy].map(|tensor| tensor.wide());
    let mut truth = naive::layer::statistics(&rows, &x);
    truth.variance.iter_mut().for_each(|variance| *variance /= factor * factor);
    let errors = bounds.row_statistics(&rows, &x, &truth);
    assert_within("mean", &got.mean, &truth.mean, &errors.mean);
    assert_within("variance", &got.variance, &truth.variance, &errors.variance);
    let truth = naive::layer::forward(&rows, &x, &parameters);
    let [_, of_y] = bounds.row(&rows, &x, &parameters);
    assert_within("y", &y.wide(), &truth, &of_y);
    let truth = naive::layer::backward(&rows, &x, &dy, &parameters);
    let bound = bounds.row_backward(&rows, &x, &dy, &parameters);
    let [gamma, of_gamma] = [truth.gamma, bound.gamma]
        .map(|of| of.iter().map(|gamma| gamma * factor).collect::<Vec<_>>());
    assert_within("dx", &dx.wide(), &truth.dx, &bound.dx);
    assert_within("dγ", &wide(&gradients.gamma), &gamma, &of_gamma);
    assert_within("dβ", &wide(&gradients.beta), &truth.beta, &bound.beta);
    [y, dx].iter().for_each(Tensor::assert_sentinels);
}

/// Sizes, their order in memory, and how far each is sliced.
type Dims = (Vec<u32>, Vec<usize>, Vec<(u32, u32, u32)>);

/// Some dimensions in any order in memory, behind which rows are to lie end to end.
fn leading() -> impl Strategy<Value = Dims> {
    prop::collection::vec(1..=7u32, 0..=3).prop_flat_map(|sizes| {
        let order: Vec<usize> = (0..sizes.len()).collect();
        let slices = prop::collection::vec((0..=2u32, 1..=2u32, 0..=2u32), sizes.len());
        (Just(sizes), Just(order).prop_shuffle(), slices)
    })
}

#[test]
fn both_passes_give_the_naive_results_for_rows_of_any_length_wherever_they_lie() {
    let lengths = prop_oneof![1..=70u32, prop::sample::select(vec![127u32, 128, 255, 600])];
    let cases = (leading(), lengths, 0..=5u32, any::<u64>());
    for_all(150, cases, |((sizes, order, slices), length, offset, seed)| {
        let mut sizes = sizes;
        sizes.push(length);
        let axis = sizes.len() - 1;
        let shape = Shape { sizes, axis, limits: Limits::DEFAULT };
        let (mut order, mut slices) = (order, slices);
        order.push(axis);
        slices.push((1, 1, 2));
        let apart = Placement::sliced(&shape, &order, &slices, offset);
        let whole = Placement::contiguous(&shape);
        for norm in ALL {
            check(&shape, [&whole, &apart, &whole], norm, seed);
            check(&shape, [&apart, &whole, &apart], norm, seed);
        }
    });
}

#[test]
fn rows_that_are_parted_into_pieces_and_blocks_are_within_bounds() {
    let limits =
        Limits { band: 3000, slice: 100, block: 300, piece: 256, near: 0, far: usize::MAX };
    for shape in [rows([5, 2000]), rows([1, 999]), rows([2, 3, 4097]), rows([300, 257])] {
        let shape = Shape { limits, ..shape };
        let whole = &Placement::contiguous(&shape);
        let mut slab = Layout::default();
        slab.rows(&shape.layout(&[whole]).expect("a layout"), 0, 4);
        assert!(slab.all_lines().end > 1, "{shape:?}");
        for norm in ALL {
            check(&shape, [whole, whole, whole], norm, 7);
        }
    }
}

#[test]
fn more_rows_than_a_slab_has_are_within_bounds() {
    for shape in [rows([1027, 3]), rows([600, 64]), rows([33, 1000]), rows([9, 20_000])] {
        let whole = &Placement::contiguous(&shape);
        for norm in ALL {
            check(&shape, [whole, whole, whole], norm, 3);
        }
    }
}

#[test]
fn rows_that_lie_side_by_side_or_with_gaps_are_packed() {
    for shape in [rows([37, 70]), rows([5, 3]), rows([600, 9]), rows([3, 21, 65]), rows([1, 8])] {
        let dims = shape.sizes.len();
        let across: Vec<_> = (0..dims).rev().collect();
        let inner: Vec<_> = (0..dims).map(|dim| (dim + dims - 1) % dims).collect();
        let slices = vec![(1, 2, 1); dims];
        let whole = Placement::contiguous(&shape);
        for apart in [
            Placement::permuted(&shape, &across),
            Placement::permuted(&shape, &inner),
            Placement::sliced(&shape, &across, &slices, 3),
            Placement::sliced(&shape, &(0..dims).collect::<Vec<_>>(), &slices, 1),
        ] {
            for norm in ALL {
                check(&shape, [&apart, &whole, &apart], norm, 3);
                check(&shape, [&whole, &apart, &apart], norm, 4);
            }
        }
    }
}

#[test]
fn in_place_gives_the_same_bits() {
    for shape in [rows([3, 40]), rows([70, 7]), rows([5, 1])] {
        for norm in ALL {
            let random = &mut Random(3);
            let [x, dy] = [(); 2].map(|()| activations(&shape.channels(), random));
            let [x, dy, y, dx] = [&x, &dy, &x, &x].map(|values| Tensor::contiguous(&shape, values));
            let (parameters, workspace) = (parameters(&shape, random), &mut Workspace::new());
            let saved = forward(&shape, [&x, &y], norm, &parameters, workspace);
            backward(&shape, [&x, &dy, &dx], norm, &parameters, &saved, workspace);
            let over_x = Tensor::contiguous(&shape, &x.values());
            backward(&shape, [&over_x, &dy, &over_x], norm, &parameters, &saved, workspace);
            assert!(over_x.bits() == dx.bits(), "{shape:?}");
            backward(&shape, [&x, &dy, &dy], norm, &parameters, &saved, workspace);
            assert!(dy.bits() == dx.bits(), "{shape:?}");
            forward(&shape, [&x, &x], norm, &parameters, workspace);
            assert!(x.bits() == y.bits(), "{shape:?}");
        }
    }
}

#[test]
fn a_row_of_one_value_is_exactly_the_offset_and_has_no_gradient_of_x() {
    for shape in [rows([5, 40]), rows([9, 3]), rows([5, 1])] {
        let rows = Rows::of(&shape.sizes, Around::Mean);
        for eps in [0.0, 1e-5] {
            let x: Vec<_> = rows.sets.of.iter().map(|&set| 1e7 + set as f32).collect();
            let [x, y, dx] = [(); 3].map(|()| Tensor::contiguous(&shape, &x));
            let dy = Tensor::contiguous(&shape, &vec![1.0; shape.len()]);
            let beta: Vec<_> = (0..shape.channel_count()).map(|channel| channel as f32).collect();
            let parameters = Parameters { gamma: None, beta: Some(beta.clone()), eps };
            let workspace = &mut Workspace::new();
            let saved = forward(&shape, [&x, &y], Norm::Layer, &parameters, workspace);
            assert!(saved.variance.iter().all(|&variance| variance == 0.0), "{shape:?}");
            let offsets: Vec<_> = rows.channels.of.iter().map(|&c| beta[c]).collect();
            assert_eq!(y.values(), offsets, "{shape:?}");
            let tensors = [&x, &dy, &dx];
            let gradients = backward(&shape, tensors, Norm::Layer, &parameters, &saved, workspace);
            assert_eq!(dx.values(), vec![0.0; shape.len()], "{shape:?}");
            assert!(gradients.gamma.iter().all(|&gamma| gamma == 0.0));
            assert!(gradients.beta.iter().all(|&beta| beta == shape.sizes[0] as f32));
        }
    }
}

#[test]
fn what_is_no_number_stays_in_its_row_and_its_channel() {
    for shape in [rows([6, 40]), rows([70, 7])] {
        for (norm, wrong) in ALL.into_iter().zip([f32::NAN, f32::INFINITY, f32::NAN]) {
            let rows = Rows::of(&shape.sizes, norm.around());
            let random = &mut Random(5);
            let mut x = activations(&rows.channels, random);
            x[shape.len() / 2] = wrong;
            let [x, y, dx] = [(); 3].map(|()| Tensor::contiguous(&shape, &x));
            let dy = Tensor::contiguous(&shape, &activations(&rows.channels, random));
            let (parameters, workspace) = (Parameters::none(1e-5), &mut Workspace::new());
            let saved = forward(&shape, [&x, &y], norm, &parameters, workspace);
            backward(&shape, [&x, &dy, &dx], norm, &parameters, &saved, workspace);
            let set = rows.sets.of[shape.len() / 2];
            for (i, (y, dx)) in y.values().into_iter().zip(dx.values()).enumerate() {
                if rows.sets.of[i] != set {
                    assert!(y.is_finite() && dx.is_finite(), "{shape:?}: {i}");
                } else if wrong.is_nan() {
                    assert!(y.is_nan() && dx.is_nan(), "{shape:?}: {i}");
                }
            }
        }
    }
}

#[test]
fn values_of_any_size_are_within_bounds() {
    for scale in [1e-25f32, 1e-18, 1e18, 1e25] {
        for norm in ALL {
            let shape = rows([5, 50]);
            let rows = Rows::of(&shape.sizes, norm.around());
            let random = &mut Random(11);
            let x: Vec<_> = (0..shape.len()).map(|_| random.normal() as f32 * scale).collect();
            let (x, y) = (Tensor::contiguous(&shape, &x), Tensor::contiguous(&shape, &x));
            let (parameters, factor) = (Parameters::none(0.0), norm.factor(&shape));
            let got = forward(&shape, [&x, &y], norm, &parameters, &mut Workspace::new());
            let mut slab = Layout::default();
            slab.rows(&shape.layout(&[&x.placement; 2]).expect("a layout"), 0, usize::MAX);
            let (bounds, x) = (Bounds::worst(&slab), x.wide());
            let mut truth = naive::layer::statistics(&rows, &x);
            truth.variance.iter_mut().for_each(|variance| *variance /= factor * factor);
            let errors = bounds.row_statistics(&rows, &x, &truth);
            assert_within("variance", &got.variance, &truth.variance, &errors.variance);
            let parameters = norm.naive(&shape, &parameters);
            let truth = naive::layer::forward(&rows, &x, &parameters);
            let [_, of_y] = bounds.row(&rows, &x, &parameters);
            assert_within("y", &y.wide(), &truth, &of_y);
        }
    }
}

#[test]
fn rows_shorter_than_the_least_length_are_divided_by_that_and_it_is_constant() {
    let shape = rows([4, 3]);
    let small = [1e-13f32, -2e-13, 3e-13];
    let x = [[0.0; 3], small, small.map(|x| x * 1e-20), [3.0, 0.0, -4.0]].concat();
    let dy = [2.0f32, -1.0, 0.5].repeat(4);
    let [y, dx] = [(); 2].map(|()| Tensor::contiguous(&shape, &x));
    let [x, dy] = [x, dy].map(|values| Tensor::contiguous(&shape, &values));
    let (parameters, workspace) = (Parameters::none(1e-12), &mut Workspace::new());
    let saved = forward(&shape, [&x, &y], Norm::Unit, &parameters, workspace);
    backward(&shape, [&x, &dy, &dx], Norm::Unit, &parameters, &saved, workspace);
    for i in 0..9 {
        let near = |got: f32, want: f64| (f64::from(got) - want).abs() <= want.abs() * 2.4e-7;
        assert!(near(y.values()[i], x.wide()[i] * 1e12), "y {i}");
        assert!(near(dx.values()[i], dy.wide()[i] * 1e12), "dx {i}");
    }
    assert_eq!(y.values()[9..], [0.6, 0.0, -0.8]);
    assert_eq!(saved.variance[3], 25.0);
}
