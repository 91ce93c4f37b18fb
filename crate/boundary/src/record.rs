//! The record of a call: read, checked, and told what it means.

use core::cell::Cell;

use batchnorm_kernel::Cells;
use batchnorm_kernel::layout::{Extent, Layout, MAX_OPERANDS};
use batchnorm_kernel::norm::batch::Saved;

use crate::Status;
use crate::memory::Memory;

/// Words before the tensors'.
const HEADER: usize = 17;

/// A shape of more dimensions is a mistake.
const MAX_RANK: usize = 64;

/// What to do with x.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Forward,
    Statistics,
    Backward,
    Update,
}

/// As a record numbers them, with their tensors.
const OPERATIONS: [(Operation, usize); 4] = [
    (Operation::Forward, 2),
    (Operation::Statistics, 1),
    (Operation::Backward, 3),
    (Operation::Update, 1),
];

/// A call record (see the crate's documentation), of which the tensors are checked.
pub struct Record<'a> {
    memory: Memory<'a>,
    header: &'a [Cell<u32>],
    channels: usize,
    pub operation: Operation,
    pub numbers: [f64; 3],
    /// x, then y or dy, then dx; empty where the operation has less.
    pub tensors: [Cells<'a>; MAX_OPERANDS],
}

impl<'a> Record<'a> {
    /// Reads it, and plans the walk over its tensors.
    pub fn read(memory: Memory<'a>, address: usize, layout: &mut Layout) -> Result<Self, Status> {
        let numbers: &[Cell<f64>] = memory.cells(address, 3).ok_or(Status::BadAddress)?;
        let header: &[Cell<u32>] = memory.cells(address, HEADER).ok_or(Status::BadAddress)?;
        let word = |index: usize| header[index].get() as usize;
        let (operation, axis, rank) = (word(6), word(7), word(8));
        let (operation, tensors) = *OPERATIONS.get(operation).ok_or(Status::BadRecord)?;
        if rank > MAX_RANK {
            return Err(Status::BadRecord);
        }
        let len = rank + MAX_OPERANDS * (2 + rank);
        // SAFETY: they are not borrowed beyond this function, which writes to no memory of a
        // record's.
        let words = unsafe { memory.words(address + HEADER * size_of::<u32>(), len) };
        let (sizes, words) = words.ok_or(Status::BadAddress)?.split_at(rank);

        let mut cells: [Cells; MAX_OPERANDS] = [&[]; MAX_OPERANDS];
        let mut extents = [Extent { strides: &[], len: 0 }; MAX_OPERANDS];
        for (k, tensor) in words.chunks_exact(2 + rank).take(tensors).enumerate() {
            let extent = Extent { strides: &tensor[2..], len: tensor[1] as usize };
            cells[k] = memory.cells(tensor[0] as usize, extent.len).ok_or(Status::BadAddress)?;
            extents[k..].fill(extent);
        }
        layout.plan(sizes, axis, &extents).map_err(|_| Status::BadRecord)?;
        Ok(Self {
            memory,
            header,
            channels: layout.channels,
            operation,
            numbers: core::array::from_fn(|index| numbers[index].get()),
            tensors: cells,
        })
    }

    pub fn word(&self, index: usize) -> usize {
        self.header[index].get() as usize
    }

    /// The values, one a channel, whose address is the word at `index`.
    #[inline(always)]
    pub fn vector(&self, index: usize) -> Result<Option<Cells<'a>>, Status> {
        match self.word(index) {
            0 => Ok(None),
            address => {
                self.memory.cells(address, self.channels).map(Some).ok_or(Status::BadAddress)
            }
        }
    }

    /// Two vectors, whose addresses are the words from `index` on.
    #[inline(always)]
    pub fn pair(&self, index: usize) -> Result<[Option<Cells<'a>>; 2], Status> {
        Ok([self.vector(index)?, self.vector(index + 1)?])
    }

    /// What a forward pass saves.
    pub fn saved(&self) -> Result<Option<Saved<'a>>, Status> {
        let address = self.word(15);
        if address == 0 {
            return Ok(None);
        }
        let len = self.channels.checked_mul(3);
        let all = len.and_then(|len| self.memory.cells(address, len)).ok_or(Status::BadAddress)?;
        let (mean, rest) = all.split_at(self.channels);
        let (variance, gamma) = rest.split_at(self.channels);
        Ok(Some(Saved { mean, variance, gamma }))
    }
}
