//! Group norm against the naive one: random shapes, strides and numbers of groups, cut walks,
//! groups that are constant, far from 0 or no numbers.

mod bounds;
mod kernel;
mod naive;
mod tensors;

use batchnorm_kernel::layout::{Layout, Limits, Over};
use batchnorm_kernel::norm::group;
use batchnorm_kernel::{Cells, Workspace};
use bounds::{Bounds, assert_within};
use kernel::{Gradients, Parameters, parameters};
use naive::batch::Statistics;
use naive::group::Groups;
use tensors::random::{Random, for_all};
use tensors::{Case, Shape, Tensor, activations, cases, values, wide};

/// Some number of groups that a shape's channels can be parted into.
fn some_number(shape: &Shape, random: &mut Random) -> usize {
    let channels = shape.channel_count();
    let divisors: Vec<_> =
        (1..=channels).filter(|&groups| channels.is_multiple_of(groups)).collect();
    divisors[random.below(divisors.len())]
}

fn groups_of(shape: &Shape, number: usize) -> Groups {
    Groups::along(&shape.sizes, shape.axis, number)
}

/// Normalizes x into y, which may be x.
fn forward(
    shape: &Shape,
    [x, y]: [&Tensor; 2],
    number: usize,
    parameters: &Parameters,
    workspace: &mut Workspace,
) -> Statistics {
    let layout = shape.layout_over(Over::Sample, &[&x.placement, &y.placement]).expect("a layout");
    workspace.reserve(&layout).expect("memory");
    let sets = layout.samples * number;
    kernel::saved([sets, layout.channels], |saved| {
        parameters.with(|parameters| {
            let tensors = [x.cells(), y.cells()];
            let room = (&mut Layout::default(), workspace);
            group::forward(&layout, tensors, number, parameters, Some(saved), room);
        });
        assert_eq!(values(saved.gamma), parameters.naive(layout.channels).gamma);
    })
}

/// Gradients of [`forward`] into dx, which may be x or dy.
fn backward(
    shape: &Shape,
    tensors: [&Tensor; 3],
    number: usize,
    parameters: &Parameters,
    statistics: &Statistics,
    workspace: &mut Workspace,
) -> Gradients {
    let placements = tensors.map(|tensor| &tensor.placement);
    let layout = shape.layout_over(Over::Sample, &placements).expect("a layout");
    workspace.reserve(&layout).expect("memory");
    workspace.reserve_gradients(layout.channels).expect("memory");
    let tensors: [Cells; 3] = tensors.map(Tensor::cells);
    let room = (&mut Layout::default(), workspace);
    kernel::gradients(shape, |gradients| {
        kernel::restored(statistics, parameters.naive(layout.channels).gamma, |saved| {
            group::backward(&layout, tensors, number, saved, parameters.eps, &gradients, room);
        });
    })
}

/// Checks both passes on random values.
fn check(Case { shape, operands: [of_x, of_y, of_dx], seed }: &Case, number: usize) {
    let (random, groups) = (&mut Random(*seed), groups_of(shape, number));
    let x = Tensor::new(shape, of_x, &activations(&groups.channels, random));
    let dy = Tensor::new(shape, of_y, &activations(&groups.channels, random));
    let [y, dx] = [of_y, of_dx].map(|placement| Tensor::empty(shape, placement));
    let before = [x.bits(), dy.bits()];
    let parameters = parameters(shape, random);
    let workspace = &mut Workspace::new();
    let got = forward(shape, [&x, &y], number, &parameters, workspace);
    let gradients = backward(shape, [&x, &dy, &dx], number, &parameters, &got, workspace);

    let of = |operands| shape.layout_over(Over::Sample, operands).expect("a layout");
    let bounds = Bounds::worst_of(&[&of(&[of_x, of_y]), &of(&[of_x, of_y, of_dx])]);
    let parameters = parameters.naive(groups.channels.number);
    assert!([x.bits(), dy.bits()] == before, "x or dy was written");
    let [x, dy] = [x, dy].map(|tensor| tensor.wide());
    let truth = naive::group::statistics(&groups, &x);
    let errors = bounds.statistics(&groups.sets, &x, &truth);
    assert_within("mean", &got.mean, &truth.mean, &errors.mean);
    assert_within("variance", &got.variance, &truth.variance, &errors.variance);
    let truth = naive::group::forward(&groups, &x, &parameters);
    assert_within("y", &y.wide(), &truth, &bounds.group(&groups, &x, &parameters));
    let truth = naive::group::backward(&groups, &x, &dy, &parameters);
    let bound = bounds.group_backward(&groups, &x, &dy, &parameters);
    assert_within("dx", &dx.wide(), &truth.dx, &bound.dx);
    assert_within("dγ", &wide(&gradients.gamma), &truth.gamma, &bound.gamma);
    assert_within("dβ", &wide(&gradients.beta), &truth.beta, &bound.beta);
    [y, dx].iter().for_each(Tensor::assert_sentinels);
}

#[test]
fn both_passes_give_the_naive_results_in_any_shape_strides_and_number_of_groups() {
    for_all(150, cases(1..=2000), |case| {
        let number = some_number(&case.shape, &mut Random(case.seed ^ 1));
        check(&case, number);
    });
}

#[test]
fn both_passes_in_several_bands_and_pieces_are_within_bounds() {
    let limits =
        Limits { band: 3000, slice: 100, block: 300, piece: 256, near: 0, far: usize::MAX };
    let by_row = Limits { far: 0, ..limits };
    for (shape, limits, number, bands) in [
        (Shape::new([2, 12, 600], 1), limits, 6, 2),
        (Shape::new([2, 12, 600], 1), limits, 1, 1),
        (Shape::new([1, 8, 4100], 1), limits, 8, 2),
        (Shape::new([3, 9, 35, 35], 1), limits, 3, 1),
        (Shape::new([2, 30, 30, 16], 3), limits, 4, 1),
        (Shape::new([2, 600, 80], 2), by_row, 8, 1),
        (Shape::new([40, 600], 0), limits, 10, 3),
    ] {
        let shape = Shape { limits, ..shape };
        let placement = tensors::Placement::contiguous(&shape);
        let layout = shape.layout_over(Over::Sample, &[&placement]).expect("a layout");
        let mut sets = Layout::default();
        sets.group(&layout, layout.channels / number);
        assert_eq!(sets.bands(2).count(), bands, "{shape:?}");
        assert!(layout.blocks().count() > 1, "{shape:?}");
        check(&Case { shape, operands: [(); 3].map(|()| placement.clone()), seed: 7 }, number);
    }
}

#[test]
fn with_as_many_groups_as_channels_each_sample_is_batch_normalized_for_itself_to_the_bit() {
    for_all(60, cases(1..=2000), |Case { shape, operands: [of_x, of_y, _], seed }| {
        let random = &mut Random(seed);
        let x = activations(&shape.channels(), random);
        let parameters = parameters(&shape, random);
        let number = shape.channel_count();
        let workspace = &mut Workspace::new();
        let whole = Tensor::new(&shape, &of_x, &x);
        let y = Tensor::empty(&shape, &of_y);
        forward(&shape, [&whole, &y], number, &parameters, workspace);
        // Elements may lie in each other's place.
        let x = whole.values();
        let samples = if shape.axis == 0 { 1 } else { shape.sizes[0] as usize };
        let mut sizes = shape.sizes.clone();
        if shape.axis > 0 {
            sizes[0] = 1;
        }
        let one = Shape { sizes, ..shape.clone() };
        let each = x.chunks_exact(x.len() / samples);
        let alone: Vec<_> = each
            .flat_map(|x| {
                let (x, y) = (Tensor::new(&one, &of_x, x), Tensor::empty(&one, &of_y));
                kernel::training(&one, [&x, &y], &parameters, workspace);
                y.bits()
            })
            .collect();
        assert!(y.bits() == alone);
    });
}

/// A shape for each way of walking, with groups of several channels.
fn shapes() -> [Shape; 3] {
    [Shape::new([3, 6, 40], 1), Shape::new([3, 5, 5, 6], 3), Shape::new([3, 6], 1)]
}

#[test]
fn in_place_gives_the_same_bits() {
    for shape in shapes() {
        let random = &mut Random(3);
        let [x, dy] = [(); 2].map(|()| activations(&shape.channels(), random));
        let [x, dy, y, dx] = [&x, &dy, &x, &x].map(|values| Tensor::contiguous(&shape, values));
        let (parameters, workspace) = (parameters(&shape, random), &mut Workspace::new());
        let saved = forward(&shape, [&x, &y], 3, &parameters, workspace);
        backward(&shape, [&x, &dy, &dx], 3, &parameters, &saved, workspace);
        backward(&shape, [&x, &dy, &dy], 3, &parameters, &saved, workspace);
        assert!(dy.bits() == dx.bits(), "{shape:?}");
        forward(&shape, [&x, &x], 3, &parameters, workspace);
        assert!(x.bits() == y.bits(), "{shape:?}");
    }
}

#[test]
fn a_set_of_one_value_is_exactly_the_offset_and_has_no_gradient_of_x() {
    for shape in shapes() {
        let groups = groups_of(&shape, 3);
        for eps in [0.0, 1e-5] {
            let of_set = |set: usize| 1e7 + set as f32;
            let x: Vec<_> = groups.sets.of.iter().map(|&set| of_set(set)).collect();
            let [x, y, dx] = [(); 3].map(|()| Tensor::contiguous(&shape, &x));
            let dy = Tensor::contiguous(&shape, &vec![1.0; shape.len()]);
            let beta: Vec<_> = (0..6).map(|channel| channel as f32).collect();
            let parameters = Parameters { gamma: None, beta: Some(beta.clone()), eps };
            let workspace = &mut Workspace::new();
            let saved = forward(&shape, [&x, &y], 3, &parameters, workspace);
            assert_eq!(saved.variance, vec![0.0; 9], "{shape:?}");
            let offsets: Vec<_> = groups.channels.of.iter().map(|&c| beta[c]).collect();
            assert_eq!(y.values(), offsets, "{shape:?}");
            let gradients = backward(&shape, [&x, &dy, &dx], 3, &parameters, &saved, workspace);
            assert_eq!(dx.values(), vec![0.0; shape.len()], "{shape:?}");
            assert_eq!(gradients.gamma, vec![0.0; 6]);
            assert_eq!(gradients.beta, vec![(shape.len() / 6) as f32; 6]);
        }
    }
}

#[test]
fn what_is_no_number_stays_in_its_set_and_its_channel() {
    for shape in shapes() {
        let groups = groups_of(&shape, 3);
        for wrong in [f32::NAN, f32::INFINITY] {
            let random = &mut Random(5);
            let mut x = activations(&groups.channels, random);
            x[shape.len() / 2] = wrong;
            let [x, y, dx] = [(); 3].map(|()| Tensor::contiguous(&shape, &x));
            let dy = Tensor::contiguous(&shape, &activations(&groups.channels, random));
            let (parameters, workspace) = (Parameters::none(1e-5), &mut Workspace::new());
            let saved = forward(&shape, [&x, &y], 3, &parameters, workspace);
            let gradients = backward(&shape, [&x, &dy, &dx], 3, &parameters, &saved, workspace);
            let set = groups.sets.of[shape.len() / 2];
            for (i, (y, dx)) in y.values().into_iter().zip(dx.values()).enumerate() {
                let is_there = groups.sets.of[i] == set;
                assert!(y.is_finite() != is_there && dx.is_finite() != is_there, "{shape:?}: {i}");
            }
            for (channel, gamma) in gradients.gamma.iter().enumerate() {
                assert_eq!(gamma.is_finite(), channel / 2 != set % 3, "{shape:?}: {channel}");
            }
        }
    }
}

#[test]
fn channels_of_a_group_may_be_far_from_each_other_and_from_0() {
    for shape in shapes() {
        for far in [1e4, 1e7] {
            let groups = groups_of(&shape, 2);
            let random = &mut Random(9);
            // The last channel of a group lies apart, or all are far from 0.
            for apart in [true, false] {
                let of_channel = |&c: &usize| {
                    let mean = if apart && c % 3 < 2 { 0.0 } else { far };
                    (mean + random.normal()) as f32
                };
                let x: Vec<_> = groups.channels.of.iter().map(of_channel).collect();
                let (x, y) = (Tensor::contiguous(&shape, &x), Tensor::contiguous(&shape, &x));
                let parameters = Parameters::none(1e-5);
                let got = forward(&shape, [&x, &y], 2, &parameters, &mut Workspace::new());
                let layout = shape.layout_over(Over::Sample, &[&x.placement; 2]).expect("a layout");
                let (bounds, x) = (Bounds::worst(&layout), x.wide());
                let truth = naive::group::statistics(&groups, &x);
                let errors = bounds.statistics(&groups.sets, &x, &truth);
                assert_within("variance", &got.variance, &truth.variance, &errors.variance);
                let parameters = parameters.naive(6);
                let truth = naive::group::forward(&groups, &x, &parameters);
                assert_within("y", &y.wide(), &truth, &bounds.group(&groups, &x, &parameters));
            }
        }
    }
}
