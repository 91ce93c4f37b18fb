//! What each operation does, on numbers that a reader can check.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::arena::{Arena, GUARD, SIZE, Words};
use crate::abi::{Operation, RecordSize};
use crate::operations::OPERATIONS;
use crate::{STATE, Status, run};

const X: [f32; 4] = [1.0, 2.0, 3.0, 6.0];

/// The statistics of [`X`], [2, 2] with channels along axis 1, and γ.
const SAVED: [f64; 6] = [2.0, 4.0, 1.0, 4.0, 2.0, 1.0];

/// Of [`X`] and as many zeros for each other tensor of the operation.
fn words(arena: &mut Arena, operation: Operation) -> Words {
    let mut words = Words {
        operation: operation as u32,
        axis: 1,
        sizes: vec![2, 2],
        groups: 1,
        ..Words::default()
    };
    for k in 0..operation.described().tensors {
        let values = if k == 0 { X } else { [0.0; 4] };
        words.tensors[k] = (arena.put(&values), 4, vec![2, 1]);
    }
    words
}

fn call(arena: &mut Arena, words: &Words) -> Status {
    let record = arena.put(&words.all());
    arena.call(record)
}

/// Asserts that a call is refused and writes nothing.
fn assert_refused(arena: &mut Arena, words: &Words, status: Status) {
    let record = arena.put(&words.all());
    let before = arena.snapshot();
    assert_eq!(arena.call(record), status, "{words:?}");
    assert!(arena.changed(&before).is_empty(), "{words:?}");
}

#[test]
fn forward_by_the_batch_saves_them_with_gamma_and_moves_running_ones() {
    let arena = &mut Arena::new();
    let mut words = words(arena, Operation::Forward);
    words.numbers = [0.0, 0.5, 2.0, 0.0];
    words.gamma = arena.put(&[2.0f32, 1.0]);
    words.beta = arena.put(&[0.5f32, 0.0]);
    words.accumulators = [arena.put(&[0.0f32, 0.0]), arena.put(&[1.0f32, 1.0])];
    words.saved = arena.put(&[0.0f64; 6]);
    assert_eq!(call(arena, &words), Status::Ok);
    assert_eq!(arena.values::<f32>(words.tensors[1].0, 4), [-1.5, -1.0, 2.5, 1.0]);
    assert_eq!(arena.values::<f64>(words.saved, 6), SAVED);
    assert_eq!(arena.values::<f32>(words.accumulators[0], 2), [1.0, 2.0]);
    assert_eq!(arena.values::<f32>(words.accumulators[1], 2), [1.5, 4.5]);
}

#[test]
fn forward_by_given_statistics_moves_nothing_and_saves_them_where_it_is_told_to() {
    for save in [true, false] {
        let arena = &mut Arena::new();
        let mut words = words(arena, Operation::Forward);
        words.mean = arena.put(&[1.0f32, 0.0]);
        words.variance = arena.put(&[4.0f32, 1.0]);
        words.accumulators = [words.mean, words.variance];
        words.numbers = [0.0, 0.5, 1.0, 0.0];
        words.saved = if save { arena.put(&[0.0f64; 6]) } else { 0 };
        assert_eq!(call(arena, &words), Status::Ok);
        assert_eq!(arena.values::<f32>(words.tensors[1].0, 4), [0.0, 2.0, 1.0, 6.0]);
        assert_eq!(arena.values::<f32>(words.mean, 2), [1.0, 0.0]);
        if save {
            let saved = arena.values::<f64>(words.saved, 6);
            assert_eq!(saved, [1.0, 0.0, 4.0, 1.0, 1.0, 1.0]);
        }
    }
}

#[test]
fn forward_by_statistics_that_are_saved_already_takes_them_as_f64_and_leaves_them() {
    let arena = &mut Arena::new();
    let mut words = words(arena, Operation::Forward);
    // A mean that no f32 is near to.
    let mean = 16_777_216.5;
    words.tensors[0].0 = arena.put(&[16_777_216.0f32, 2.0, 16_777_218.0, 6.0]);
    words.gamma = arena.put(&[2.0f32, 1.0]);
    words.accumulators = [arena.put(&[7.0f32, 7.0]), arena.put(&[7.0f32, 7.0])];
    words.numbers = [0.0, 0.5, 1.0, 0.0];
    words.constant = 1;
    words.saved = arena.put(&[mean, 0.0, 4.0, 1.0, 0.0, 0.0]);
    assert_eq!(call(arena, &words), Status::Ok);
    assert_eq!(arena.values::<f32>(words.tensors[1].0, 4), [-0.5, 2.0, 1.5, 6.0]);
    assert_eq!(arena.values::<f64>(words.saved, 6), [mean, 0.0, 4.0, 1.0, 2.0, 1.0]);
    assert_eq!(arena.values::<f32>(words.accumulators[0], 2), [7.0, 7.0]);
    words.saved = arena.put(&[mean, 0.0, 4.0, -1.0, 0.0, 0.0]);
    assert_refused(arena, &words, Status::NegativeVariance);
    words.saved = 0;
    assert_refused(arena, &words, Status::BadRecord);
}

#[test]
fn an_activation_and_a_residual_before_it_follow_the_norm() {
    for (operation, slope, y) in [
        (Operation::ActivatedForward, 0.0, [0.0f32, 0.0, 2.5, 1.0]),
        (Operation::ActivatedForward, 0.5, [-0.75, -0.5, 2.5, 1.0]),
        (Operation::ResidualForward, 0.0, [0.5, 0.0, 0.0, 1.0]),
        (Operation::ResidualForward, 0.5, [0.5, -0.25, -0.25, 1.0]),
        (Operation::ResidualForward, 1.0, [0.5, -0.5, -0.5, 1.0]),
    ] {
        for given in [true, false] {
            let arena = &mut Arena::new();
            let mut words = words(arena, operation);
            let out = operation.described().tensors - 1;
            if out == 2 {
                arena.write(words.tensors[1].0, &[2.0f32, 0.5, -3.0, 0.0]);
            }
            words.numbers = [0.0, 0.5, 2.0, slope];
            words.gamma = arena.put(&[2.0f32, 1.0]);
            words.beta = arena.put(&[0.5f32, 0.0]);
            words.accumulators = [arena.put(&[0.0f32, 0.0]), arena.put(&[1.0f32, 1.0])];
            words.saved = arena.put(&[0.0f64; 6]);
            if given {
                words.mean = arena.put(&[2.0f32, 4.0]);
                words.variance = arena.put(&[1.0f32, 4.0]);
            }
            assert_eq!(call(arena, &words), Status::Ok);
            assert_eq!(arena.values::<f32>(words.tensors[out].0, 4), y);
            assert_eq!(arena.values::<f64>(words.saved, 6), SAVED);
            let moved = if given { [0.0, 0.0] } else { [1.0, 2.0] };
            assert_eq!(arena.values::<f32>(words.accumulators[0], 2), moved);
        }
    }
}

#[test]
fn a_negative_variance_is_refused_and_one_that_is_no_number_stays_in_its_channel() {
    let arena = &mut Arena::new();
    let mut words = words(arena, Operation::Forward);
    words.mean = arena.put(&[0.0f32, 0.0]);
    words.saved = arena.put(&[0.0f64; 6]);
    words.variance = arena.put(&[1.0f32, -1e-45]);
    assert_refused(arena, &words, Status::NegativeVariance);
    words.variance = arena.put(&[1.0, f32::NAN]);
    assert_eq!(call(arena, &words), Status::Ok);
    let y = arena.values::<f32>(words.tensors[1].0, 4);
    assert!(y[1].is_nan() && y[3].is_nan());
    assert_eq!([y[0], y[2]], [1.0, 3.0]);
}

#[test]
fn statistics_saves_them_with_gamma_1_and_moves_nothing() {
    let arena = &mut Arena::new();
    let mut words = words(arena, Operation::Statistics);
    words.numbers = [0.0, 0.5, 1.0, 0.0];
    words.gamma = arena.put(&[2.0f32, 1.0]);
    words.accumulators = [arena.put(&[0.0f32, 0.0]), arena.put(&[1.0f32, 1.0])];
    words.saved = arena.put(&[0.0f64; 6]);
    assert_eq!(call(arena, &words), Status::Ok);
    assert_eq!(arena.values::<f64>(words.saved, 6), [2.0, 4.0, 1.0, 4.0, 1.0, 1.0]);
    assert_eq!(arena.values::<f32>(words.accumulators[0], 2), [0.0, 0.0]);
}

#[test]
fn backward_adds_each_gradient_that_is_wanted_by_what_was_saved_and_nothing_else() {
    for [gamma, beta] in [[true, true], [true, false], [false, true], [false, false]] {
        for constant in [0, 1] {
            let arena = &mut Arena::new();
            let mut words = words(arena, Operation::Backward);
            words.constant = constant;
            arena.write(words.tensors[1].0, &[1.0f32, 1.0, 2.0, 4.0]);
            words.saved = arena.put(&SAVED);
            let sums = [arena.put(&[10.0f32, 10.0]), arena.put(&[20.0f32, 20.0])];
            words.accumulators = [if gamma { sums[0] } else { 0 }, if beta { sums[1] } else { 0 }];
            // No addresses at all, and not read.
            [words.gamma, words.beta, words.mean, words.variance] = [1, 2, 3, 4];
            assert_eq!(call(arena, &words), Status::Ok);
            // x̂ = ∓1; through the batch's statistics dy is a line over it, and nothing is left.
            let dx = if constant == 1 { [2.0f32, 0.5, 4.0, 2.0] } else { [0.0; 4] };
            assert_eq!(arena.values::<f32>(words.tensors[2].0, 4), dx);
            let [of_gamma, of_beta] = sums.map(|sum| arena.values::<f32>(sum, 2));
            assert_eq!(of_gamma, if gamma { [11.0, 13.0] } else { [10.0, 10.0] });
            assert_eq!(of_beta, if beta { [23.0, 25.0] } else { [20.0, 20.0] });
        }
    }
}

#[test]
fn backward_through_an_activation_gates_dy_by_the_sign_of_y_into_a_tensor_or_dx() {
    for (slope, gated, dx, [gamma, beta]) in [
        (0.0, [1.0f32, 0.0, 0.0, 4.0], [2.0, 0.0, 0.0, 2.0], [[9.0, 14.0], [21.0, 24.0]]),
        (0.5, [1.0, 0.5, 1.0, 4.0], [2.0, 0.25, 2.0, 2.0], [[10.0, 13.5], [22.0, 24.5]]),
    ] {
        for (apart, constant) in [(true, 1), (true, 0), (false, 1), (false, 0)] {
            let arena = &mut Arena::new();
            let mut words = words(arena, Operation::ActivatedBackward);
            words.constant = constant;
            words.numbers[3] = slope;
            arena.write(words.tensors[3].0, &[1.0f32, 1.0, 2.0, 4.0]);
            arena.write(words.tensors[4].0, &[1.0f32, -1.0, 0.0, 2.0]);
            words.tensors[1] = words.tensors[if apart { 5 } else { 2 }].clone();
            words.tensors[5] = words.tensors[1].clone();
            words.saved = arena.put(&SAVED);
            words.accumulators = [arena.put(&[10.0f32, 10.0]), arena.put(&[20.0f32, 20.0])];
            assert_eq!(call(arena, &words), Status::Ok);
            // As without one; through the batch's statistics nothing is left of two values.
            let dx = if constant == 1 { dx } else { [0.0; 4] };
            assert_eq!(arena.values::<f32>(words.tensors[2].0, 4), dx);
            if apart {
                assert_eq!(arena.values::<f32>(words.tensors[5].0, 4), gated);
            }
            assert_eq!(arena.values::<f32>(words.accumulators[0], 2), gamma);
            assert_eq!(arena.values::<f32>(words.accumulators[1], 2), beta);
        }
    }
}

#[test]
fn update_moves_running_statistics_by_what_was_saved() {
    let arena = &mut Arena::new();
    let mut words = words(arena, Operation::Update);
    words.numbers = [0.0, 0.25, 2.0, 0.0];
    words.accumulators = [arena.put(&[0.0f32, 8.0]), arena.put(&[2.0f32, 0.0])];
    words.saved = arena.put(&SAVED);
    assert_eq!(call(arena, &words), Status::Ok);
    assert_eq!(arena.values::<f32>(words.accumulators[0], 2), [0.5, 7.0]);
    assert_eq!(arena.values::<f32>(words.accumulators[1], 2), [2.0, 2.0]);
}

/// r from ½ to 2 and d to 1; of the first channel σ = 2 and μ = 0, which are clipped to, of the second
/// σ = 4 and μ = 5; and room for r and d.
const RENORM: [f64; 11] = [0.75, 2.0, 0.5, 0.5, 0.0, 0.0, 0.0, 0.25, 5.0, 0.0, 0.0];

#[test]
fn statistics_of_the_batch_are_corrected_and_so_are_their_gradients() {
    let arena = &mut Arena::new();
    let mut forward = words(arena, Operation::Forward);
    forward.gamma = arena.put(&[2.0f32, 1.0]);
    forward.beta = arena.put(&[0.5f32, 0.0]);
    forward.saved = arena.put(&[0.0f64; 6]);
    forward.renorm = arena.put(&RENORM);
    forward.accumulators = [arena.put(&[0.0f32, 0.0]), arena.put(&[0.0f32, 0.0])];
    forward.numbers = [0.0, 1.0, 1.0, 0.0];
    assert_eq!(call(arena, &forward), Status::Ok);
    // r = 1/2 is less than the least, d = 2/2 more than the most; r = 2/4 likewise, d = −1/4.
    let corrected = arena.values::<f64>(forward.renorm, 11);
    assert_eq!(corrected, [0.75, 2.0, 0.5, 0.5, 0.0, 0.75, 0.5, 0.25, 5.0, 0.75, -0.25]);
    assert_eq!(arena.values::<f32>(forward.tensors[1].0, 4), [0.0, -1.0, 3.0, 0.5]);
    assert_eq!(arena.values::<f64>(forward.saved, 6), SAVED);
    assert_eq!(arena.values::<f32>(forward.accumulators[0], 2), [2.0, 4.0]);

    let mut backward = words(arena, Operation::Backward);
    arena.write(backward.tensors[1].0, &[1.0f32, 1.0, 2.0, 4.0]);
    (backward.saved, backward.renorm) = (forward.saved, forward.renorm);
    backward.accumulators = [arena.put(&[0.0f32, 0.0]), arena.put(&[0.0f32, 0.0])];
    assert_eq!(call(arena, &backward), Status::Ok);
    // Σdy·x̂ is 1 and 3, Σdy 3 and 5.
    assert_eq!(arena.values::<f32>(backward.accumulators[0], 2), [0.75 + 1.5, 2.25 - 1.25]);
    assert_eq!(arena.values::<f32>(backward.accumulators[1], 2), [3.0, 5.0]);
    assert_eq!(arena.values::<f32>(backward.tensors[2].0, 4), [0.0; 4]);
}

/// A sum and so many weights behind it.
fn put_weights(arena: &mut Arena, total: f64, each: &[f32]) -> usize {
    let address = arena.reserve::<f64>(1 + each.len());
    arena.write(address, &[total]);
    arena.write(address + size_of::<f64>(), each);
    address
}

#[test]
fn statistics_count_elements_by_their_weights() {
    for operation in [Operation::Forward, Operation::Statistics] {
        let arena = &mut Arena::new();
        let mut words = words(arena, operation);
        words.numbers = [0.25, 0.5, 2.0, 0.0];
        words.weights = put_weights(arena, 4.0, &[3.0, 1.0]);
        words.accumulators = [arena.put(&[0.0f32, 0.0]), arena.put(&[1.0f32, 1.0])];
        words.saved = arena.put(&[0.0f64; 6]);
        assert_eq!(call(arena, &words), Status::Ok);
        assert_eq!(arena.values::<f64>(words.saved, 6), [1.5, 3.0, 0.75, 3.0, 1.0, 1.0]);
        if operation == Operation::Forward {
            let y = arena.values::<f32>(words.tensors[1].0, 4);
            assert_eq!([y[0], y[2]], [-0.5, 1.5]);
            assert_eq!(arena.values::<f32>(words.accumulators[0], 2), [0.75, 1.5]);
            assert_eq!(arena.values::<f32>(words.accumulators[1], 2), [1.25, 3.5]);
        }
    }
}

#[test]
fn backward_goes_through_weighted_statistics_with_the_sums_of_all_elements() {
    for constant in [0, 1] {
        let arena = &mut Arena::new();
        let mut words = words(arena, Operation::Backward);
        words.numbers = [0.25, 0.0, 0.0, 0.0];
        words.constant = constant;
        words.weights = put_weights(arena, 4.0, &[3.0, 1.0]);
        arena.write(words.tensors[1].0, &[1.0f32, 1.0, 2.0, 4.0]);
        words.saved = arena.put(&[1.5, 3.0, 0.75, 3.75, 2.0, 1.0]);
        words.accumulators = [arena.put(&[10.0f32, 10.0]), arena.put(&[20.0f32, 20.0])];
        assert_eq!(call(arena, &words), Status::Ok);
        let through = [-0.625, -0.34375, 0.625, 0.34375];
        let dx = if constant == 1 { [2.0, 0.5, 4.0, 2.0] } else { through };
        assert_eq!(arena.values::<f32>(words.tensors[2].0, 4), dx);
        assert_eq!(arena.values::<f32>(words.accumulators[0], 2), [12.5, 15.5]);
        assert_eq!(arena.values::<f32>(words.accumulators[1], 2), [23.0, 25.0]);
    }
}

/// Of [`X`] as two samples of two channels: the mean of each, its variance, and γ.
const SAVED_OF_GROUPS: [f64; 6] = [1.5, 4.5, 0.25, 2.25, 2.0, 1.0];

#[test]
fn groups_of_each_sample_are_normalized_and_saved_where_there_is_an_address_to() {
    for save in [true, false] {
        let arena = &mut Arena::new();
        let mut words = words(arena, Operation::GroupForward);
        words.gamma = arena.put(&[2.0f32, 1.0]);
        words.beta = arena.put(&[0.5f32, 0.0]);
        words.accumulators = [arena.put(&[1.0f32, 1.0]), arena.put(&[1.0f32, 1.0])];
        words.saved = if save { arena.put(&[0.0f64; 6]) } else { 0 };
        assert_eq!(call(arena, &words), Status::Ok);
        assert_eq!(arena.values::<f32>(words.tensors[1].0, 4), [-1.5, 1.0, -1.5, 1.0]);
        assert_eq!(arena.values::<f32>(words.accumulators[0], 2), [1.0, 1.0]);
        if save {
            assert_eq!(arena.values::<f64>(words.saved, 6), SAVED_OF_GROUPS);
        }
    }
}

#[test]
fn gradients_of_groups_are_those_of_each_sample_and_their_sums() {
    let arena = &mut Arena::new();
    let mut words = words(arena, Operation::GroupBackward);
    arena.write(words.tensors[1].0, &[1.0f32, 1.0, 2.0, 4.0]);
    words.saved = arena.put(&SAVED_OF_GROUPS);
    words.accumulators = [arena.put(&[10.0f32, 10.0]), arena.put(&[20.0f32, 20.0])];
    assert_eq!(call(arena, &words), Status::Ok);
    // Of two values each normalized gradient is a line over x̂ = ∓1, and nothing is left.
    assert_eq!(arena.values::<f32>(words.tensors[2].0, 4), [0.0; 4]);
    assert_eq!(arena.values::<f32>(words.accumulators[0], 2), [7.0, 15.0]);
    assert_eq!(arena.values::<f32>(words.accumulators[1], 2), [23.0, 25.0]);
}

/// Of [`X`] as two rows: the mean of each, its variance, and γ.
const SAVED_OF_ROWS: [f64; 6] = [1.5, 4.5, 0.25, 2.25, 2.0, 1.0];

/// Around 0.
const SAVED_OF_SQUARES: [f64; 6] = [0.0, 0.0, 2.5, 22.5, 2.0, 1.0];

/// To unit length.
const SAVED_OF_LENGTHS: [f64; 6] = [0.0, 0.0, 5.0, 45.0, 2.0, 1.0];

#[test]
fn rows_are_normalized_and_saved_where_there_is_an_address_to() {
    for (operation, y, saved) in [
        (Operation::LayerForward, [-1.5, 1.0, -1.5, 1.0], SAVED_OF_ROWS),
        (Operation::RmsForward, [1.764_911, 1.264_911, 1.764_911, 1.264_911], SAVED_OF_SQUARES),
        (Operation::UnitForward, [1.394_427, 0.894_427, 1.394_427, 0.894_427], SAVED_OF_LENGTHS),
    ] {
        for save in [true, false] {
            let arena = &mut Arena::new();
            let mut words = words(arena, operation);
            words.gamma = arena.put(&[2.0f32, 1.0]);
            words.beta = arena.put(&[0.5f32, 0.0]);
            words.saved = if save { arena.put(&[0.0f64; 6]) } else { 0 };
            assert_eq!(call(arena, &words), Status::Ok);
            let got = arena.values::<f32>(words.tensors[1].0, 4);
            assert!(got.iter().zip(y).all(|(got, y)| (got - y).abs() < 1e-6), "{got:?}");
            if save {
                assert_eq!(arena.values::<f64>(words.saved, 6), saved);
            }
        }
    }
}

#[test]
fn gradients_of_rows_are_summed_up_across_them() {
    for (operation, saved, dx, gamma) in [
        // Of two values each normalized gradient is a line over x̂ = ∓1, and nothing is left.
        (Operation::LayerBackward, SAVED_OF_ROWS, [0.0; 4], [-3.0, 5.0]),
        (
            Operation::RmsBackward,
            SAVED_OF_SQUARES,
            [0.758_947, -0.379_473, 0.337_310, -0.168_655],
            [1.897_367, 6.324_555],
        ),
        (
            Operation::UnitBackward,
            SAVED_OF_LENGTHS,
            [0.536_656, -0.268_328, 0.238_514, -0.119_257],
            [1.341_641, 4.472_136],
        ),
    ] {
        let arena = &mut Arena::new();
        let mut words = words(arena, operation);
        arena.write(words.tensors[1].0, &[1.0f32, 1.0, 2.0, 4.0]);
        words.saved = arena.put(&saved);
        words.accumulators = [arena.put(&[10.0f32, 10.0]), arena.put(&[20.0f32, 20.0])];
        assert_eq!(call(arena, &words), Status::Ok);
        let near = |got: Vec<f32>, want: &[f32]| {
            assert!(got.iter().zip(want).all(|(got, want)| (got - want).abs() < 2e-5), "{got:?}");
        };
        near(arena.values::<f32>(words.tensors[2].0, 4), &dx);
        near(arena.values::<f32>(words.accumulators[0], 2), &gamma.map(|gamma| 10.0 + gamma));
        near(arena.values::<f32>(words.accumulators[1], 2), &[23.0, 25.0]);
    }
}

#[test]
fn a_batch_without_elements_leaves_no_statistics_of_an_earlier_one_and_moves_none() {
    for operation in [Operation::Forward, Operation::Statistics, Operation::Update] {
        let arena = &mut Arena::new();
        let mut words = words(arena, operation);
        words.sizes = vec![0, 2];
        words.tensors.iter_mut().for_each(|(_, len, _)| *len = 0);
        words.numbers = [1e-5, 0.5, 1.0, 0.0];
        words.gamma = arena.put(&[2.0f32, 3.0]);
        words.accumulators = [arena.put(&[1.0f32, 1.0]), arena.put(&[1.0f32, 1.0])];
        words.saved = arena.put(&SAVED);
        assert_eq!(call(arena, &words), Status::Ok);
        for running in words.accumulators {
            assert_eq!(arena.values::<f32>(running, 2), [1.0, 1.0]);
        }
        let saved = arena.values::<f64>(words.saved, 6);
        if operation != Operation::Update {
            assert_eq!(saved[..4], [0.0; 4]);
            let gamma = if operation == Operation::Forward { [2.0, 3.0] } else { [1.0, 1.0] };
            assert_eq!(saved[4..], gamma);
        }
    }
}

#[test]
fn a_record_that_contradicts_itself_is_refused() {
    type Spoil = fn(&mut Words, usize);
    let wrong: [(Operation, Spoil); 8] = [
        (Operation::GroupForward, |words, _| words.groups = 0),
        (Operation::GroupForward, |words, _| words.groups = 3),
        (Operation::Forward, |words, vector| words.mean = vector),
        (Operation::Forward, |words, vector| words.variance = vector),
        (Operation::Forward, |words, _| words.operation = OPERATIONS.len() as u32),
        (Operation::Forward, |words, _| words.axis = 2),
        (Operation::Forward, |words, _| words.tensors[1].1 = 3),
        (Operation::ActivatedBackward, |words, _| words.tensors[4].1 = 3),
    ];
    let needing = OPERATIONS.iter().filter(|operation| operation.described().needs_saved);
    let without = needing.map(|&operation| (operation, (|words, _| words.saved = 0) as Spoil));
    for (operation, spoil) in wrong.into_iter().chain(without) {
        let arena = &mut Arena::new();
        let mut words = words(arena, operation);
        words.saved = arena.put(&SAVED);
        let vector = arena.put(&[1.0f32, 1.0]);
        spoil(&mut words, vector);
        assert_refused(arena, &words, Status::BadRecord);
    }
}

#[test]
fn as_many_dimensions_as_there_may_be_are_taken_and_one_more_refused() {
    let most = RecordSize::MaxRank as usize;
    for (rank, status) in [(most, Status::Ok), (most + 1, Status::BadRecord)] {
        let arena = &mut Arena::new();
        let mut words = words(arena, Operation::Statistics);
        words.sizes.resize(rank, 1);
        words.saved = arena.put(&[0.0f64; 6]);
        let record = arena.put(&words.all());
        assert_eq!(arena.call(record), status);
    }
}

#[test]
fn addresses_that_are_crooked_or_lead_out_of_memory_are_refused() {
    let end = GUARD + SIZE;
    let places: [fn(&mut Words) -> &mut usize; 8] = [
        |words| &mut words.gamma,
        |words| &mut words.beta,
        |words| &mut words.accumulators[0],
        |words| &mut words.accumulators[1],
        |words| &mut words.weights,
        |words| &mut words.saved,
        |words| &mut words.tensors[0].0,
        |words| &mut words.tensors[1].0,
    ];
    for place in places {
        for wrong in [GUARD - 4, GUARD + 2, end - 4, end, end + 8, u32::MAX as usize] {
            let arena = &mut Arena::new();
            let mut words = words(arena, Operation::Forward);
            words.saved = arena.put(&SAVED);
            *place(&mut words) = wrong;
            assert_refused(arena, &words, Status::BadAddress);
        }
    }
    for len in [SIZE / 4 + 1, 1 << 30, u32::MAX as usize] {
        let arena = &mut Arena::new();
        let mut words = words(arena, Operation::Forward);
        words.saved = arena.put(&SAVED);
        words.tensors[1].1 = len;
        assert_refused(arena, &words, Status::BadAddress);
    }
    let arena = Arena::new();
    for record in [0, GUARD - 8, GUARD + 4, end - 64, end, u32::MAX as usize & !7] {
        assert_eq!(arena.call(record), Status::BadAddress, "{record}");
    }
}

#[test]
fn a_state_that_a_trap_left_borrowed_is_not_used_again() {
    let _left = STATE.borrow_mut();
    assert!(catch_unwind(AssertUnwindSafe(|| run(GUARD))).is_err());
}
