//! What a result must not depend on: where tensors lie, what was run before, the
//! order of the batch and other channels' values.

mod bounds;
mod kernel;
mod naive;
mod tensors;

use batchnorm_kernel::Workspace;
use bounds::{Bounds, assert_within};
use kernel::{Parameters, parameters, running};
use naive::batch::Statistics;
use proptest::prelude::*;
use tensors::random::{Random, for_all};
use tensors::{Case, Placement, Shape, Tensor, activations, bits, cases, wide};

#[test]
fn results_in_place_are_those_out_of_place_to_the_bit() {
    for_all(60, cases(1..=2000), |Case { shape, operands: [.., placement], seed }| {
        let (random, channels) = (&mut Random(seed), shape.channels());
        let (x, dy) = (activations(&channels, random), activations(&channels, random));
        let parameters = parameters(&shape, random);
        let running = running(&shape, random);
        let running = running.each_ref().map(Vec::as_slice);
        let workspace = &mut Workspace::new();
        let tensor = |values: &[f32]| Tensor::new(&shape, &placement, values);
        let empty = || Tensor::empty(&shape, &placement);

        let [apart, over] = [(tensor(&x), empty()), (tensor(&x), tensor(&x))];
        let statistics = kernel::training(&shape, [&apart.0, &apart.1], &parameters, workspace);
        let same = kernel::training(&shape, [&over.1, &over.1], &parameters, workspace);
        assert_eq!(same, statistics);
        assert!(over.1.bits() == apart.1.bits(), "training");
        over.1.assert_sentinels();

        let (apart, over) = (empty(), tensor(&x));
        kernel::inference(&shape, [&tensor(&x), &apart], &parameters, running, workspace);
        kernel::inference(&shape, [&over, &over], &parameters, running, workspace);
        assert!(over.bits() == apart.bits(), "inference");
        over.assert_sentinels();

        for constant in [false, true] {
            let mut run = |x: &Tensor, dy: &Tensor, dx: &Tensor| {
                if constant {
                    kernel::backward_constant(&shape, [x, dy, dx], &parameters, running, workspace)
                } else {
                    kernel::backward(&shape, [x, dy, dx], &parameters, &statistics, workspace)
                }
            };
            let (dx, over_x, over_dy) = (empty(), tensor(&x), tensor(&dy));
            let gradients = run(&tensor(&x), &tensor(&dy), &dx);
            assert_eq!(run(&over_x, &tensor(&dy), &over_x), gradients);
            assert_eq!(run(&tensor(&x), &over_dy, &over_dy), gradients);
            for over in [over_x, over_dy] {
                assert!(over.bits() == dx.bits(), "backward, constant: {constant}");
                over.assert_sentinels();
            }
        }
    });
}

#[test]
fn results_do_not_depend_on_alignment() {
    for shape in [Shape::new([3, 5, 37], 1), Shape::new([70, 21], 1), Shape::new([9, 3, 7], 1)] {
        let x = activations(&shape.channels(), &mut Random(5));
        let run = |offset| {
            let placement = Placement { offset, ..Placement::contiguous(&shape) };
            let [x, y] = [(); 2].map(|()| Tensor::new(&shape, &placement, &x));
            let workspace = &mut Workspace::new();
            let statistics = kernel::training(&shape, [&x, &y], &Parameters::none(1e-5), workspace);
            (statistics, y.bits())
        };
        for offset in 1..8 {
            assert!(run(offset) == run(0), "{shape:?} from element {offset} on");
        }
    }
}

#[test]
fn a_workspace_used_for_other_layouts_gives_the_bits_of_a_new_one() {
    for_all(25, prop::collection::vec(cases(1..=2000), 2..5), |cases| {
        let used = &mut Workspace::new();
        // Sums that would show wherever they were not cleared.
        let shape = Shape::new([2, 40, 20], 1);
        let [x, y] = [(); 2].map(|()| Tensor::contiguous(&shape, &vec![f32::NAN; shape.len()]));
        let nan = kernel::training(&shape, [&x, &y], &Parameters::none(1e-5), used);
        kernel::backward(&shape, [&x, &x, &y], &Parameters::none(1e-5), &nan, used);
        for Case { shape, operands: [of_x, of_dy, of_dx], seed } in cases {
            let run = |workspace: &mut Workspace| {
                let (random, channels) = (&mut Random(seed), shape.channels());
                let x = Tensor::new(&shape, &of_x, &activations(&channels, random));
                let dy = Tensor::new(&shape, &of_dy, &activations(&channels, random));
                let [y, dx] = [(); 2].map(|()| Tensor::empty(&shape, &of_dx));
                let parameters = parameters(&shape, random);
                let statistics = kernel::training(&shape, [&x, &y], &parameters, workspace);
                let tensors = [&x, &dy, &dx];
                let gradients =
                    kernel::backward(&shape, tensors, &parameters, &statistics, workspace);
                (statistics, y.bits(), gradients, dx.bits())
            };
            let fresh = run(&mut Workspace::new());
            assert!(run(used) == fresh, "a used workspace");
            assert!(run(used) == fresh, "the second time");
        }
    });
}

#[test]
fn an_empty_batch_has_no_statistics_writes_no_element_and_adds_no_gradient() {
    for shape in [Shape::new([0, 3, 4], 1), Shape::new([2, 3, 0], 1), Shape::new([2, 0, 4], 1)] {
        let channels = shape.channel_count();
        let placement = Placement::contiguous(&Shape::new([1, 1, 1], 1));
        let [x, dy, dx] = [(); 3].map(|()| Tensor::empty(&shape, &placement));
        let (parameters, workspace) = (Parameters::none(1e-5), &mut Workspace::new());
        let statistics = Statistics { mean: vec![0.0; channels], variance: vec![1.0; channels] };
        let none = kernel::training(&shape, [&x, &dx], &parameters, workspace);
        for values in [none.mean, none.variance] {
            assert_eq!(values, vec![0.0; channels]);
        }
        let got = kernel::backward(&shape, [&x, &dy, &dx], &parameters, &statistics, workspace);
        assert_eq!(got.beta, vec![0.0; channels]);
        dx.assert_sentinels();
    }
}

#[test]
fn what_is_not_a_number_stays_in_its_channel() {
    let poison = prop_oneof![Just(f32::NAN), Just(f32::INFINITY), Just(f32::NEG_INFINITY)];
    let place = any::<prop::sample::Index>();
    let strategy = (cases(2..=2000), poison, place, any::<bool>());
    for_all(100, strategy, |(case, poison, place, in_x)| {
        let Case { shape, operands: [.., placement], seed } = case;
        let (random, channels) = (&mut Random(seed), shape.channels());
        let (x, dy) = (activations(&channels, random), activations(&channels, random));
        let parameters = Parameters { eps: 1e-5, ..parameters(&shape, random) };
        let workspace = &mut Workspace::new();
        let mut run = |x: &[f32], dy: &[f32]| {
            let [x, dy] = [x, dy].map(|values| Tensor::new(&shape, &placement, values));
            let [y, dx] = [(); 2].map(|()| Tensor::empty(&shape, &placement));
            let statistics = kernel::training(&shape, [&x, &y], &parameters, workspace);
            let tensors = [&x, &dy, &dx];
            let gradients = kernel::backward(&shape, tensors, &parameters, &statistics, workspace);
            (y.values(), dx.values(), statistics, gradients)
        };
        let clean = run(&x, &dy);
        let place = place.index(x.len());
        let (mut bad_x, mut bad_dy) = (x, dy);
        if in_x {
            bad_x[place] = poison
        } else {
            bad_dy[place] = poison
        }
        let got = run(&bad_x, &bad_dy);
        for channel in 0..channels.number {
            let of = |tensor: &[f32]| channels.pick(channel, tensor);
            if channel == channels.of[place] {
                assert!(of(&got.1).iter().all(|dx| dx.is_nan()), "dx of the channel");
                assert!(!in_x || of(&got.0).iter().all(|y| y.is_nan()), "y of the channel");
                assert!(!in_x || got.2.variance[channel].is_nan(), "variance of the channel");
                assert!(!got.3.gamma[channel].is_finite(), "dγ of the channel");
                continue;
            }
            assert!(bits(&of(&got.0)) == bits(&of(&clean.0)), "y of channel {channel}");
            assert!(bits(&of(&got.1)) == bits(&of(&clean.1)), "dx of channel {channel}");
            assert_eq!(got.2.mean[channel], clean.2.mean[channel]);
            assert_eq!(got.2.variance[channel], clean.2.variance[channel]);
            assert_eq!(got.3.gamma[channel], clean.3.gamma[channel]);
            assert_eq!(got.3.beta[channel], clean.3.beta[channel]);
        }
    });
}

#[test]
fn the_order_of_a_batch_changes_statistics_by_no_more_than_rounding() {
    for_all(60, (2..60u32, 1..8u32, 1..40u32, any::<u64>()), |(n, c, inner, seed)| {
        let (shape, random) = (Shape::new([n, c, inner], 1), &mut Random(seed));
        let channels = shape.channels();
        let x = activations(&channels, random);
        let mut items: Vec<_> = x.chunks((c * inner) as usize).collect();
        for last in (1..items.len()).rev() {
            items.swap(last, random.bits() as usize % (last + 1));
        }
        let run = |x: &[f32]| {
            let [x, y] = [(); 2].map(|()| Tensor::contiguous(&shape, x));
            kernel::training(&shape, [&x, &y], &Parameters::none(1e-5), &mut Workspace::new())
        };
        let (got, permuted) = (run(&x), run(&items.concat()));
        let placement = Placement::contiguous(&shape);
        let layout = shape.layout(&[&placement, &placement]).expect("a layout");
        let truth = naive::batch::statistics(&channels, &wide(&x));
        let errors = Bounds::worst(&layout).statistics(&channels, &wide(&x), &truth);
        // Each is as far from the truth at most.
        let twice = |errors: Vec<f64>| errors.iter().map(|error| 2.0 * error).collect::<Vec<_>>();
        assert_within("mean", &permuted.mean, &got.mean, &twice(errors.mean));
        assert_within("variance", &permuted.variance, &got.variance, &twice(errors.variance));
    });
}
