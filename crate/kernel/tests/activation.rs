//! Activations and residuals: as the norm alone and then element by element, to the bit.

mod kernel;
mod naive;
mod tensors;

use batchnorm_kernel::activation::{Activation, Gate};
use batchnorm_kernel::layout::{Form, Layout, Limits};
use batchnorm_kernel::norm::batch::{self, Given};
use batchnorm_kernel::statistics::Statistics;
use batchnorm_kernel::{Cells, Workspace};
use kernel::{Gradients, Parameters, gradients, parameters, restored, running, saved};
use naive::activation::{activated, gated};
use tensors::random::{Random, for_all};
use tensors::{Case, Placement, Shape, Tensor, activations, bits, cases, cells, wide};

/// ReLU, leaky ones, and none.
const SLOPES: [f32; 4] = [0.0, 0.01, 0.5, 1.0];

/// Bits, with one for both zeros.
fn bits_of(values: impl IntoIterator<Item = f32>) -> Vec<u32> {
    bits(&values.into_iter().map(|value| value + 0.0).collect::<Vec<_>>())
}

fn layout_of(shape: &Shape, tensors: &[&Tensor]) -> Layout {
    let placements: Vec<_> = tensors.iter().map(|tensor| &tensor.placement).collect();
    shape.layout(&placements).expect("a layout")
}

fn cells_of<'a>(tensors: &[&'a Tensor]) -> [Cells<'a>; 3] {
    [0, 1, 2].map(|k| tensors.get(k).map_or(&[][..], |tensor| tensor.cells()))
}

/// A forward pass by these statistics, or by x's own, over the operands of a layout.
fn forward(
    shape: &Shape,
    tensors: &[&Tensor],
    parameters: &Parameters,
    given: Option<[&[f32]; 2]>,
    activation: Option<Activation>,
) -> naive::batch::Statistics {
    let (layout, workspace) = (layout_of(shape, tensors), &mut Workspace::new());
    workspace.reserve(&layout).expect("memory");
    let given = given.map(|statistics| statistics.map(cells));
    let given = given.as_ref().map(|statistics| statistics.each_ref().map(|values| &values[..]));
    let given = given.map(Given::Vectors);
    saved([layout.channels; 2], |saved| {
        parameters.with(|parameters| {
            let tensors = (&cells_of(tensors), activation);
            batch::forward(&layout, tensors, parameters, given, None, Some(saved), workspace);
        });
    })
}

#[test]
fn forward_gives_the_bits_of_the_norm_and_then_of_the_residual_and_the_activation() {
    for_all(60, cases(1..=2000), |Case { shape, operands: [of_x, of_residual, of_y], seed }| {
        let (random, channels) = (&mut Random(seed), shape.channels());
        let x = Tensor::new(&shape, &of_x, &activations(&channels, random));
        let added = activations(&channels, random);
        let residual = || Tensor::new(&shape, &of_residual, &added);
        let parameters = parameters(&shape, random);
        let running = running(&shape, random);
        for given in [None, Some(running.each_ref().map(Vec::as_slice))] {
            let run = |tensors: &[&Tensor], activation| {
                let statistics = forward(&shape, tensors, &parameters, given, activation);
                tensors.iter().for_each(|tensor| tensor.assert_sentinels());
                format!("{statistics:?}")
            };
            // An output of the norm alone, by a walk over the same operands: they decide in which
            // order sums are added.
            let alone = |of_y: &Placement, others: &[&Tensor]| {
                let y = Tensor::empty(&shape, of_y);
                let statistics = run(&[&[&x, &y], others].concat(), None);
                (y.values(), statistics)
            };
            for slope in SLOPES {
                let of = |residual| Some(Activation { slope, residual });
                let y = Tensor::empty(&shape, &of_y);
                let statistics = run(&[&x, &y], of(false));
                let (norm, statistics_alone) = alone(&of_y, &[]);
                assert_eq!(statistics, statistics_alone);
                let want = bits_of(norm.into_iter().map(|v| activated(v, slope)));
                assert!(bits_of(y.values()) == want, "{slope}");

                for in_place in [false, true] {
                    let (residual, apart) = (residual(), Tensor::empty(&shape, &of_y));
                    let y = if in_place { &residual } else { &apart };
                    let statistics = run(&[&x, &residual, y], of(true));
                    let (norm, statistics_alone) = alone(&y.placement, &[&residual]);
                    assert_eq!(statistics, statistics_alone);
                    let sums = norm.into_iter().zip(&added).map(|(v, r)| v + r);
                    let want = bits_of(sums.map(|v| activated(v, slope)));
                    assert!(bits_of(y.values()) == want, "{slope}, in place: {in_place}");
                }
            }
        }
    });
}

/// What a backward pass has, but its tensors.
struct Backward {
    parameters: Parameters,
    values: naive::batch::Statistics,
    statistics: Statistics,
}

impl Backward {
    fn run(&self, shape: &Shape, tensors: [&Tensor; 3], gate: Option<&Gate>) -> Gradients {
        let (layout, workspace) = (layout_of(shape, &tensors), &mut Workspace::new());
        workspace.reserve(&layout).expect("memory");
        if let Some(gate) = gate {
            workspace.reserve(gate.layout).expect("memory");
        }
        let Self { parameters, values, statistics } = self;
        gradients(shape, |gradients| {
            restored(values, parameters.naive(layout.channels).gamma, |saved| {
                let (tensors, eps) = ((&cells_of(&tensors), gate), parameters.eps);
                let taken = (*statistics, None);
                batch::backward(&layout, tensors, saved, taken, eps, &gradients, workspace);
            });
        })
    }

    /// The bits of a backward pass through an activation are those of one without, of dy as it
    /// was gated.
    fn check(&self, shape: &Shape, [x, dy, y, into, dx]: [&Tensor; 5], slope: f32) {
        let want = dy.values().into_iter().zip(y.values());
        let want: Vec<_> = want.map(|(dy, y)| gated(dy, y, slope)).collect();
        let of_dy = Tensor::new(shape, &into.placement, &want);
        let alone = Tensor::empty(shape, &dx.placement);
        let gradients_alone = self.run(shape, [x, &of_dy, &alone], None);

        let layout = layout_of(shape, &[dy, y, into]);
        let gate = Gate { layout: &layout, tensors: cells_of(&[dy, y, into]), slope };
        let gradients = self.run(shape, [x, into, dx], Some(&gate));
        assert_eq!(format!("{gradients:?}"), format!("{gradients_alone:?}"), "{slope}");
        assert!(bits_of(dx.values()) == bits_of(alone.values()), "dx, {slope}");
        if !std::ptr::eq(into, dx) {
            assert!(bits_of(into.values()) == bits_of(want), "the residual's gradient, {slope}");
        }
        [x, dy, y, into, dx].iter().for_each(|tensor| tensor.assert_sentinels());
    }
}

/// Backward passes through each activation, and with each way to be in place.
fn check_backward(shape: &Shape, [of_x, of_dy, of_y, of_gated, of_dx]: [&Placement; 5], seed: u64) {
    let (random, channels) = (&mut Random(seed), shape.channels());
    let x = Tensor::new(shape, of_x, &activations(&channels, random));
    let [of_gradient, sign] = [(); 2].map(|()| activations(&channels, random));
    let parameters = parameters(shape, random);
    let [mean, variance] = running(shape, random);
    let given = naive::batch::Statistics { mean: wide(&mean), variance: wide(&variance) };
    let own = naive::batch::statistics(&channels, &x.wide());
    for (values, statistics) in [(own, Statistics::BATCH), (given, Statistics::GIVEN)] {
        let backward = Backward { parameters: parameters.clone(), values, statistics };
        for slope in SLOPES {
            let [dy, y] = [(of_dy, &of_gradient), (of_y, &sign)]
                .map(|(placement, values)| Tensor::new(shape, placement, values));
            let [gated, dx] = [of_gated, of_dx].map(|placement| Tensor::empty(shape, placement));
            backward.check(shape, [&x, &dy, &y, &dx, &dx], slope);
            backward.check(shape, [&x, &dy, &y, &gated, &dx], slope);
            // What is overwritten is made anew for each.
            let of = |placement, values| Tensor::new(shape, placement, values);
            let over = of(of_dy, &of_gradient);
            backward.check(shape, [&x, &over, &y, &over, &over], slope);
            let over = of(of_dy, &of_gradient);
            backward.check(shape, [&x, &over, &y, &over, &dx], slope);
            let over = of(of_dy, &of_gradient);
            backward.check(shape, [&x, &over, &y, &gated, &over], slope);
            let over = of(of_y, &sign);
            backward.check(shape, [&x, &dy, &over, &over, &over], slope);
        }
    }
}

#[test]
fn backward_gives_the_bits_of_the_norm_s_from_the_gated_gradient() {
    for_all(25, cases(1..=2000), |Case { shape, operands: [of_x, a, b], seed }| {
        check_backward(&shape, [&of_x, &a, &b, &b, &a], seed);
        check_backward(&shape, [&of_x, &a, &a, &b, &b], seed);
    });
}

#[test]
fn no_gradient_is_gated_twice_where_bands_are_runs_to_one_walk_and_columns_to_the_other() {
    let limits = Limits { band: 300, slice: 10, block: 300, piece: 256, near: 0, far: usize::MAX };
    let shape = Shape { limits, ..Shape::new([40, 24, 4], 1) };
    let whole = Placement::contiguous(&shape);
    // As a channel range of more of them; and with gaps between positions.
    let sliced = Placement::sliced(&shape, &[0, 1, 2], &[(0, 1, 0), (3, 1, 5), (0, 1, 0)], 0);
    let apart = Placement::sliced(&shape, &[0, 1, 2], &[(0, 1, 0), (0, 1, 0), (0, 2, 0)], 0);
    let form = |placements: &[&Placement]| shape.layout(placements).expect("a layout").form;
    assert_eq!(
        [form(&[&whole]), form(&[&sliced]), form(&[&apart])],
        [Form::Columns, Form::Columns, Form::Runs]
    );
    assert!(shape.layout(&[&apart]).expect("a layout").bands(2).count() > 1);
    for placements in [
        [&apart, &whole, &whole, &whole, &whole],
        [&whole, &apart, &whole, &whole, &whole],
        [&apart, &apart, &sliced, &sliced, &whole],
        [&whole, &whole, &apart, &sliced, &sliced],
    ] {
        check_backward(&shape, placements, 5);
    }
}

#[test]
fn runs_are_gated_band_by_band() {
    let limits =
        Limits { band: 3000, slice: 100, block: 300, piece: 256, near: 0, far: usize::MAX };
    for shape in [Shape::new([2, 9, 600], 1), Shape::new([30, 9, 5, 5], 1)] {
        let shape = Shape { limits, ..shape };
        let placement = &Placement::contiguous(&shape);
        assert!(shape.layout(&[placement]).expect("a layout").bands(2).count() > 1);
        check_backward(&shape, [placement; 5], 7);
    }
}

#[test]
fn infinities_and_what_is_no_number_go_through_as_their_signs_say() {
    let of = |values: &[f32]| Tensor::contiguous(&Shape::new([5, 1], 1), values);
    let shape = &Shape::new([5, 1], 1);
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let (x, parameters) = (of(&[nan, inf, -inf, -2.0, 3.0]), Parameters::none(0.0));
    let given: Option<[&[f32]; 2]> = Some([&[0.0], &[1.0]]);
    for (slope, want) in [
        (0.0, [nan, inf, 0.0, 0.0, 3.0]),
        (0.5, [nan, inf, -inf, -1.0, 3.0]),
        (1.0, [nan, inf, -inf, -2.0, 3.0]),
    ] {
        let (y, zero) = (of(&[0.0; 5]), of(&[0.0; 5]));
        forward(shape, &[&x, &y], &parameters, given, Some(Activation { slope, residual: false }));
        assert_eq!(bits_of(y.values()), bits_of(want), "{slope}");
        let activation = Some(Activation { slope, residual: true });
        forward(shape, &[&zero, &x, &y], &parameters, given, activation);
        assert_eq!(bits_of(y.values()), bits_of(want), "{slope}, of a residual");
    }
    let y = of(&[-1.0, -1.0, 0.0, nan, inf]);
    for (slope, want) in [
        (0.0, [0.0, 0.0, 0.0, -2.0, 3.0]),
        (0.5, [nan, inf, -inf, -2.0, 3.0]),
        (1.0, [nan, inf, -inf, -2.0, 3.0]),
    ] {
        let [gated, dx] = [(); 2].map(|()| of(&[0.0; 5]));
        let layout = layout_of(shape, &[&x, &y, &gated]);
        let gate = Gate { layout: &layout, tensors: cells_of(&[&x, &y, &gated]), slope };
        let values = naive::batch::Statistics { mean: vec![0.0], variance: vec![1.0] };
        let parameters = Parameters::none(0.0);
        let backward = Backward { parameters, values, statistics: Statistics::GIVEN };
        backward.run(shape, [&x, &gated, &dx], Some(&gate));
        assert_eq!(bits_of(gated.values()), bits_of(want), "{slope}");
        assert_eq!(bits_of(dx.values()), bits_of(want), "{slope}");
    }
}
