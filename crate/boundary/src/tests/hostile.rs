//! Records of any bytes: a status, and nothing written but what they name.
//!
//! Many of them: `PROPTEST_CASES=1000000 cargo test --release -p batchnorm-boundary hostile`

use std::ops::Range;

use batchnorm_kernel::layout::Over;
use batchnorm_kernel::renorm::Renorm;
use proptest::prelude::*;

use super::arena::{Arena, GUARD, SIZE, Words, state};
use super::random::{self, Random};
use crate::abi::{RecordSize, Word};
use crate::operations::{Described, OPERATIONS, Output};
use crate::record::Record;
use crate::{State, Status};

const MAX_RANK: usize = RecordSize::MaxRank as usize;

/// Words of a record before its sizes.
const HEADER: usize = Word::Sizes as usize;

/// Words of a record of a rank and so many tensors.
const fn words_of(rank: usize, tensors: usize) -> usize {
    HEADER + rank + tensors * (RecordSize::Tensor as usize + rank)
}

const MOST_TENSORS: usize = RecordSize::Tensors as usize;

/// Words of the longest record, and some more.
const RECORD: usize = words_of(MAX_RANK, MOST_TENSORS) + 21;

/// Elements that are walked: strides of zero make many of a little memory.
const WALKED: f64 = 16_384.0;

/// Checks `property`; PROPTEST_CASES of them.
fn for_all<S: Strategy>(strategy: S, property: impl Fn(S::Value)) {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    random::for_all(cases.unwrap_or(1024), strategy, property);
}

/// Mostly of usual size, sometimes any bits.
fn value(random: &mut Random) -> f32 {
    match random.below(16) {
        0 => f32::from_bits(random.bits() as u32),
        1 => 0.0,
        _ => random.bits() as i32 as f32 / (1 << 28) as f32,
    }
}

fn values(random: &mut Random, len: usize) -> Vec<f32> {
    (0..len).map(|_| value(random)).collect()
}

/// Sets of elements that share statistics.
fn sets_of(over: Over, sizes: &[u32], axis: usize, groups: usize) -> usize {
    let of_others = || sizes.iter().enumerate().filter(|&(dim, _)| dim != axis);
    match over {
        // Of no elements the kernel knows no rows.
        Over::Row if sizes.contains(&0) => 0,
        Over::Row => of_others().map(|(_, &size)| size as usize).product(),
        Over::Batch => sizes[axis] as usize,
        Over::Sample if axis == 0 => groups,
        Over::Sample => sizes[0] as usize * groups,
    }
}

/// A call without a fault: its arena, the address of its record, and its words.
fn valid(seed: u64) -> (Arena, usize, Words) {
    let random = &mut Random(seed);
    let rank = 1 + random.below(4);
    let mut sizes: Vec<u32> = (0..rank).map(|_| random.below(5) as u32).collect();
    if random.below(4) > 0 {
        sizes.iter_mut().for_each(|size| *size = (*size).max(1));
    }
    if random.below(8) == 0 {
        sizes.resize(rank + random.below(MAX_RANK + 1 - rank), 1);
    }
    valid_over(Arena::new(), sizes, seed.is_multiple_of(3), random)
}

/// A call of any operation over these sizes without a fault, in an arena that it finds room in.
pub fn valid_over(
    mut arena: Arena,
    sizes: Vec<u32>,
    reversed: bool,
    random: &mut Random,
) -> (Arena, usize, Words) {
    let record = arena.reserve::<u32>(RECORD);
    let operation = OPERATIONS[random.below(OPERATIONS.len())];
    let Described { over, tensors, needs_saved, may_be_given, .. } = operation.described();
    let axis = random.below(sizes.len());
    let channels = sizes[axis] as usize;
    let len: usize = sizes.iter().map(|&size| size as usize).product();
    let mut strides = vec![0; sizes.len()];
    let mut stride = 1;
    for dim in (0..sizes.len()).rev() {
        // In the order of the dimensions, or the other way round.
        let dim = if reversed { sizes.len() - 1 - dim } else { dim };
        strides[dim] = stride;
        stride *= sizes[dim];
    }

    let mut words =
        Words { operation: operation as u32, axis: axis as u32, sizes, ..Words::default() };
    let slope = [0.0, 0.01, 1.0][random.below(3)];
    words.numbers = [[0.0, 1e-5, 1e-3][random.below(3)], 0.1, 1.5, slope];
    let divisors: Vec<_> = (1..=channels.max(1)).filter(|&g| channels.is_multiple_of(g)).collect();
    words.groups = divisors[random.below(divisors.len())] as u32;
    for tensor in &mut words.tensors[..tensors] {
        *tensor = (arena.put(&values(random, len)), len, strides.clone());
    }
    let given = may_be_given && random.below(2) == 0;
    if given {
        words.mean = arena.put(&values(random, channels));
        let variance: Vec<_> = values(random, channels).iter().map(|value| value.abs()).collect();
        words.variance = arena.put(&variance);
    }
    let [first, second] = &mut words.accumulators;
    for vector in [&mut words.gamma, &mut words.beta, first, second] {
        if random.below(2) == 0 {
            *vector = arena.put(&values(random, channels));
        }
    }
    if random.below(3) == 0 {
        // Two words for the sum.
        words.weights = arena.reserve::<f64>(1 + len / channels.max(1));
        arena.write(words.weights, &values(random, 2 + len / channels.max(1)));
    }
    if needs_saved && !given || random.below(2) == 0 {
        let sets = sets_of(over, &words.sizes, axis, words.groups as usize);
        let values = values(random, 2 * sets + channels).into_iter().map(f64::from);
        // Variances may be what normalizes.
        let is_variance = |index| (sets..2 * sets).contains(&index);
        let saved: Vec<_> = values
            .enumerate()
            .map(|(index, value)| if is_variance(index) { value.abs() } else { value })
            .collect();
        words.saved = arena.put(&saved);
    }
    if random.below(3) == 0 {
        let len = Renorm::len(channels).expect("a number");
        let numbers: Vec<_> = values(random, len).into_iter().map(f64::from).collect();
        words.renorm = arena.put(&numbers);
    }
    words.constant = random.below(2) as u32;
    arena.write(record, &words.all());
    (arena, record, words)
}

/// The words of the record at an address, if it is as long as its rank and its operation say.
fn read(arena: &Arena, record: usize) -> Option<Vec<usize>> {
    let words = |len| {
        let cells = arena.memory().cells::<u32>(record, len)?;
        Some(cells.iter().map(|cell| cell.get() as usize).collect::<Vec<_>>())
    };
    let header = words(HEADER)?;
    let operation = OPERATIONS.get(header[Word::Operation as usize])?;
    let rank = header[Word::Rank as usize];
    if rank > MAX_RANK {
        return None;
    }
    words(words_of(rank, operation.described().tensors))
}

/// Where a call may write, if it ends well.
fn outputs(words: &[usize]) -> Option<Vec<Range<usize>>> {
    let word = |word: Word| words[word as usize];
    let rank = word(Word::Rank);
    let sizes: Vec<_> = words[HEADER..][..rank].iter().map(|&size| size as u32).collect();
    let channels = *sizes.get(word(Word::Axis))? as usize;
    let tensor = |k: usize| {
        let tensor = &words[HEADER + rank + k * (RecordSize::Tensor as usize + rank)..];
        tensor[0]..tensor[0] + 4 * tensor[1]
    };
    let vector = |index: Word, bytes: usize| match word(index) {
        0 => 0..0,
        address => address..address + bytes,
    };
    let described = OPERATIONS[word(Word::Operation)].described();
    let Described { over, writes, may_be_given, .. } = described;
    let sets = sets_of(over, &sizes, word(Word::Axis), word(Word::Groups));
    let ranges = writes.iter().flat_map(|output| match output {
        Output::Tensor(k) => vec![tensor(*k)],
        Output::Saved => vec![vector(Word::Saved, 8 * (2 * sets + channels))],
        Output::Renorm if word(Word::Saved) == 0 => vec![],
        Output::Renorm => {
            vec![vector(Word::Renorm, 8 * Renorm::len(channels).expect("a number"))]
        }
        Output::Accumulators
            if may_be_given && (word(Word::Mean) != 0 || word(Word::Constant) != 0) =>
        {
            vec![]
        }
        Output::Accumulators => {
            let vector = |word| vector(word, 4 * channels);
            [Word::FirstAccumulator, Word::SecondAccumulator].map(vector).to_vec()
        }
    });
    Some(ranges.collect())
}

/// Calls what a record describes, and checks that it wrote nothing but what that names, and
/// nothing at all where it was refused. Not called is what would walk for long.
fn check(arena: &Arena, record: usize) -> Option<Status> {
    let words = read(arena, record);
    let elements = words.as_ref().map_or(0.0, |words| {
        words[HEADER..][..words[Word::Rank as usize]].iter().map(|&size| size as f64).product()
    });
    if WALKED < elements && elements < 1e20 {
        // That it is read is enough.
        let State { mut layout, mut sets, .. } = state();
        let _ = Record::read(arena.memory(), record, [&mut layout, &mut sets]);
        return None;
    }
    let before = arena.snapshot();
    let status = arena.call(record);
    let allowed = match status {
        Status::Ok => words.and_then(|words| outputs(&words)).expect("a whole record"),
        _ => vec![],
    };
    for address in arena.changed(&before) {
        let may_change = allowed.iter().any(|range| range.contains(&address));
        assert!(may_change, "{status:?}, but {address} has changed");
    }
    Some(status)
}

/// What may go wrong with a word.
#[derive(Clone, Debug)]
enum Fault {
    Any(u32),
    Small(u32),
    Added(i32),
    Flipped(u32),
    /// As another word is.
    Mixed(usize),
    Address(usize),
}

fn faults() -> impl Strategy<Value = Vec<(usize, Fault)>> {
    let fault = prop_oneof![
        any::<u32>().prop_map(Fault::Any),
        (0u32..70).prop_map(Fault::Small),
        (-9i32..=9).prop_map(Fault::Added),
        (0u32..32).prop_map(Fault::Flipped),
        (0..RECORD).prop_map(Fault::Mixed),
        (0..GUARD + SIZE).prop_map(Fault::Address),
    ];
    // Most words that mean something come early.
    let index = prop_oneof![3 => 0usize..40, 1 => 0..RECORD];
    prop::collection::vec((index, fault), 1..5)
}

fn spoil(words: &mut [u32], faults: &[(usize, Fault)]) {
    for (index, fault) in faults {
        let index = index % words.len();
        words[index] = match *fault {
            Fault::Any(value) | Fault::Small(value) => value,
            Fault::Added(value) => words[index].wrapping_add_signed(value),
            Fault::Flipped(bit) => words[index] ^ 1 << bit,
            Fault::Mixed(other) => words[other % words.len()],
            Fault::Address(address) => (address / 4 * 4) as u32,
        };
    }
}

#[test]
fn a_record_without_a_fault_is_accepted_and_writes_what_it_names() {
    for_all(any::<u64>(), |seed| {
        let (arena, record, words) = valid(seed);
        assert_eq!(check(&arena, record), Some(Status::Ok), "{words:?}");
    });
}

#[test]
fn a_record_with_faults_writes_nothing_but_what_it_names() {
    for_all((any::<u64>(), faults()), |(seed, faults)| {
        let (arena, record, words) = valid(seed);
        let mut words = words.all();
        spoil(&mut words, &faults);
        arena.write(record, &words);
        check(&arena, record);
    });
}

#[test]
fn a_record_of_any_words_at_any_address_writes_nothing_but_what_it_names() {
    let word = prop_oneof![
        4 => Just(0),
        3 => 1..=OPERATIONS.len() as u32,
        1 => any::<u32>(),
        2 => (0..(GUARD + SIZE) as u32).prop_map(|address| address / 8 * 8),
    ];
    let words = prop::collection::vec(word, words_of(4, MOST_TENSORS));
    let record = prop_oneof![3 => Just(GUARD), 1 => 0..GUARD + SIZE, 1 => 0..u32::MAX as usize];
    for_all((words, record), |(words, record)| {
        let arena = Arena::new();
        arena.write(GUARD, &words);
        check(&arena, record);
    });
}
