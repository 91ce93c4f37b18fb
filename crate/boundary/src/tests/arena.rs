//! A memory for records and what they name.

use std::cell::Cell;

use crate::abi::{RecordNumber, RecordSize, Word};
use crate::memory::{Memory, Number};
use crate::{State, Status, call};

/// Bytes before and behind those that a record may speak of.
pub const GUARD: usize = 1024;

/// Bytes that it may speak of.
pub const SIZE: usize = 1 << 14;

/// What is where nothing was put.
const FILL: u64 = 0x3d5a_96c3_3f12_4567;

pub struct Arena {
    cells: Vec<Cell<u64>>,
    end: usize,
}

impl Arena {
    pub fn new() -> Self {
        Self::of(SIZE)
    }

    /// So many bytes that a record may speak of.
    pub fn of(size: usize) -> Self {
        Self { cells: vec![Cell::new(FILL); (size + 2 * GUARD) / 8], end: GUARD }
    }

    fn last(&self) -> usize {
        8 * self.cells.len() - GUARD
    }

    pub fn memory(&self) -> Memory<'_> {
        Memory::new(&self.cells, GUARD, self.last())
    }

    /// Room for `len` values, apart from what was put before.
    pub fn reserve<T>(&mut self, len: usize) -> usize {
        let address = self.end;
        self.end += (len * size_of::<T>()).next_multiple_of(8) + 8;
        assert!(self.end <= self.last(), "the arena is full");
        address
    }

    pub fn put<T: Number + Copy>(&mut self, values: &[T]) -> usize {
        let address = self.reserve::<T>(values.len());
        self.write(address, values);
        address
    }

    pub fn write<T: Number + Copy>(&self, address: usize, values: &[T]) {
        let cells = self.memory().cells(address, values.len()).expect("memory");
        cells.iter().zip(values).for_each(|(cell, value)| cell.set(*value));
    }

    pub fn values<T: Number + Copy>(&self, address: usize, len: usize) -> Vec<T> {
        self.memory().cells(address, len).expect("memory").iter().map(Cell::get).collect()
    }

    /// All of it, with the guards.
    pub fn snapshot(&self) -> Vec<u64> {
        self.cells.iter().map(Cell::get).collect()
    }

    /// Has all of it as it was.
    pub fn restore(&self, snapshot: &[u64]) {
        self.cells.iter().zip(snapshot).for_each(|(cell, before)| cell.set(*before));
    }

    /// Addresses of the bytes that are others than in a snapshot.
    pub fn changed(&self, snapshot: &[u64]) -> Vec<usize> {
        let mut changed = Vec::new();
        for (i, (cell, before)) in self.cells.iter().zip(snapshot).enumerate() {
            if cell.get() != *before {
                let bytes = cell.get().to_ne_bytes().into_iter().zip(before.to_ne_bytes());
                let differ = bytes.enumerate().filter(|(_, (after, before))| after != before);
                changed.extend(differ.map(|(byte, _)| 8 * i + byte));
            }
        }
        changed
    }

    /// Calls what the record at an address describes.
    pub fn call(&self, record: usize) -> Status {
        self.call_with(record, &mut state())
    }

    pub fn call_with(&self, record: usize, state: &mut State) -> Status {
        call(self.memory(), record, state).err().unwrap_or(Status::Ok)
    }
}

pub fn state() -> State {
    State::NEW
}

/// The words of a record.
#[derive(Clone, Debug, Default)]
pub struct Words {
    pub numbers: [f64; RecordNumber::Count as usize],
    pub operation: u32,
    pub axis: u32,
    pub gamma: usize,
    pub beta: usize,
    pub mean: usize,
    pub variance: usize,
    pub accumulators: [usize; 2],
    pub weights: usize,
    pub saved: usize,
    pub constant: u32,
    pub groups: u32,
    pub renorm: usize,
    pub sizes: Vec<u32>,
    /// Address, length and strides.
    pub tensors: [(usize, usize, Vec<u32>); RecordSize::Tensors as usize],
}

impl Words {
    pub fn all(&self) -> Vec<u32> {
        let numbers = self.numbers.iter().flat_map(|number| {
            let bits = number.to_bits();
            let [low, high] = [bits as u32, (bits >> 32) as u32];
            if cfg!(target_endian = "little") { [low, high] } else { [high, low] }
        });
        let rank = self.sizes.len();
        let [first, second] = self.accumulators;
        let [gamma, beta] = [self.gamma, self.beta];
        let others = [self.mean, self.variance, first, second, self.weights, self.saved];
        let mut words: Vec<_> = numbers.chain([self.operation, self.axis, rank as u32]).collect();
        words.extend([gamma, beta].map(|address| address as u32));
        words.extend(others.map(|address| address as u32));
        words.extend([self.constant, self.groups, self.renorm as u32]);
        assert_eq!(words.len(), Word::Sizes as usize);
        words.extend(&self.sizes);
        for (address, len, strides) in &self.tensors {
            words.extend([*address as u32, *len as u32]);
            words.extend((0..rank).map(|dim| strides.get(dim).copied().unwrap_or(0)));
        }
        words
    }
}
