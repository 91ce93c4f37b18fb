//! Calls that a crew shares: all memory as one hand alone leaves it.
//!
//! Many of them: `PROPTEST_CASES=100000 cargo test --release -p batchnorm-boundary crew`

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use batchnorm_kernel::crew::Hands;
use batchnorm_kernel::layout::Limits;
use proptest::prelude::*;

use super::arena::{Arena, state};
use super::hostile::valid_over;
use super::random::{self, Random};
use crate::abi::Operation;
use crate::operations::OPERATIONS;
use crate::{State, Status};

/// Elements of a tensor, at most.
const ELEMENTS: u32 = 6000;

thread_local! {
    /// Hands of the crew that works for this thread.
    static NUMBER: Cell<usize> = const { Cell::new(1) };
    /// How often it was asked to, and how many parts it has done.
    static SHARED: Cell<[usize; 2]> = const { Cell::new([0; 2]) };
    static ORDER: RefCell<Random> = const { RefCell::new(Random(0)) };
}

fn note(parts: usize) {
    SHARED.set([SHARED.get()[0] + 1, SHARED.get()[1] + parts]);
}

/// One thread that plays all hands, in any order.
const PLAYED: Hands = Hands {
    number: |_| NUMBER.get(),
    share: |parts, part| {
        note(parts);
        let mut left: Vec<_> = (0..parts).collect();
        while !left.is_empty() {
            let [index, hand] = ORDER
                .with_borrow_mut(|random| [random.below(left.len()), random.below(NUMBER.get())]);
            part(hand, left.swap_remove(index));
        }
    },
};

/// What is handed to other threads: nobody writes what another one reads or writes.
struct Handed<'a>(&'a dyn Fn(usize, usize));

// SAFETY: that is what `Hands::share` is promised of parts.
unsafe impl Sync for Handed<'_> {}

impl Handed<'_> {
    fn part(&self, hand: usize, index: usize) {
        (self.0)(hand, index);
    }
}

/// Threads.
const REAL: Hands = Hands {
    number: |_| NUMBER.get(),
    share: |parts, part| {
        note(parts);
        let (part, taken) = (&Handed(part), &AtomicUsize::new(0));
        let work = move |hand| {
            while let Some(index) =
                Some(taken.fetch_add(1, Ordering::SeqCst)).filter(|i| *i < parts)
            {
                part.part(hand, index);
            }
        };
        thread::scope(|scope| {
            for hand in 1..NUMBER.get() {
                scope.spawn(move || work(hand));
            }
            work(0);
        });
    },
};

/// Checks `property`; PROPTEST_CASES of them.
fn for_all<S: Strategy>(cases: u32, strategy: S, property: impl Fn(S::Value)) {
    let wanted = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    random::for_all(wanted.unwrap_or(cases), strategy, property);
}

/// Sizes of some thousand elements at most, which small limits cut often.
fn sizes(random: &mut Random) -> Vec<u32> {
    let rank = 1 + random.below(4);
    let mut left = ELEMENTS;
    let mut sizes: Vec<_> = (0..rank)
        .map(|_| {
            let most = [1, 4, 40, 400][random.below(4)].min(left);
            let size = 1 + random.below(most as usize) as u32;
            left /= size;
            size
        })
        .collect();
    let last = random.below(rank);
    sizes[last] *= 1 + random.below(left.max(1) as usize) as u32;
    sizes
}

fn limits(random: &mut Random) -> Limits {
    let mut any = |most| 1 + random.below(most);
    let [band, slice, block] = [any(2000), any(300), any(500)];
    // Parts of rows begin at whole vectors.
    Limits { band, slice, block, piece: 4 * any(250), near: any(2000), far: any(4000) }
}

fn state_of(limits: Limits) -> State {
    let mut state = state();
    state.layout.limits = limits;
    state.sets.limits = limits;
    state
}

/// Runs a call alone and by a crew of so many hands, several times, and compares all memory.
/// Returns the operation.
fn check(seed: u64, number: usize, hands: Hands, times: usize) -> usize {
    let random = &mut Random(seed);
    let (sizes, limits, reversed) = (sizes(random), limits(random), random.below(3) == 0);
    let arena = Arena::of(6 * 4 * 2 * ELEMENTS as usize + (1 << 19));
    let (arena, record, words) = valid_over(arena, sizes, reversed, random);
    let before = arena.snapshot();
    assert_eq!(arena.call_with(record, &mut state_of(limits)), Status::Ok, "{words:?}");
    let alone = arena.snapshot();
    NUMBER.set(number);
    ORDER.set(Random(seed));
    let mut state = state_of(limits);
    assert_eq!(state.workspace.crew.enlist(hands, number), number);
    for _ in 0..times {
        arena.restore(&before);
        assert_eq!(arena.call_with(record, &mut state), Status::Ok, "{words:?}");
        let differ = arena.snapshot().iter().zip(&alone).any(|(&got, &want)| !are_same(got, want));
        assert!(!differ, "{limits:?}, {words:?}");
    }
    words.operation as usize
}

/// Whether two cells have the same bits, with one for all of what is no number: which of two such
/// addends comes through is the processor's matter.
fn are_same(got: u64, want: u64) -> bool {
    let halves = |cell: u64| [cell as u32, (cell >> 32) as u32];
    let are_same = |(got, want): (u32, u32)| {
        got == want || f32::from_bits(got).is_nan() && f32::from_bits(want).is_nan()
    };
    halves(got).into_iter().zip(halves(want)).all(are_same)
        || f64::from_bits(got).is_nan() && f64::from_bits(want).is_nan()
}

#[test]
fn a_crew_leaves_the_bits_that_one_hand_leaves_whoever_does_what() {
    let by_operation = RefCell::new(vec![[0; 2]; OPERATIONS.len()]);
    for_all(2000, (any::<u64>(), 2..=8usize), |(seed, number)| {
        SHARED.set([0; 2]);
        let operation = check(seed, number, PLAYED, 2);
        let [shares, parts] = SHARED.get();
        let all = &mut by_operation.borrow_mut()[operation];
        *all = [all[0] + shares, all[1] + parts];
    });
    for (operation, [shares, parts]) in OPERATIONS.iter().zip(by_operation.take()) {
        // It walks over nothing.
        let wanted = if *operation == Operation::Update { 0 } else { 30 };
        assert!(shares >= wanted && parts >= 2 * shares, "{operation:?}: {shares} of {parts}");
    }
}

#[test]
fn threads_that_take_parts_leave_the_bits_that_one_leaves() {
    SHARED.set([0; 2]);
    for_all(60, (any::<u64>(), 2..=4usize), |(seed, number)| {
        check(seed, number, REAL, 1);
    });
    assert!(SHARED.get()[0] > 20, "{:?}", SHARED.get());
}

#[test]
fn what_a_crew_shares_is_no_matter_of_what_it_did_before() {
    for_all(500, any::<[u64; 2]>(), |seeds| {
        let [shares, shares_after_another] = [1, 2].map(|calls| {
            NUMBER.set(2);
            ORDER.set(Random(0));
            let mut state = state_of(Limits::DEFAULT);
            assert_eq!(state.workspace.crew.enlist(PLAYED, 2), 2);
            for seed in seeds.into_iter().rev().skip(2 - calls) {
                let random = &mut Random(seed);
                let (sizes, limits) = (sizes(random), limits(random));
                [state.layout.limits, state.sets.limits] = [limits, limits];
                let arena = Arena::of(6 * 4 * 2 * ELEMENTS as usize + (1 << 19));
                let (arena, record, words) = valid_over(arena, sizes, false, random);
                SHARED.set([0; 2]);
                assert_eq!(arena.call_with(record, &mut state), Status::Ok, "{words:?}");
            }
            SHARED.get()
        });
        assert_eq!(shares, shares_after_another);
    });
}

#[test]
fn where_there_are_no_others_now_nothing_is_shared() {
    SHARED.set([0; 2]);
    const NOBODY: Hands = Hands { number: |_| 1, share: |_, _| panic!("nobody is there") };
    for_all(200, any::<u64>(), |seed| {
        check(seed, 4, NOBODY, 1);
    });
}
