//! The record of a call: read, checked, and told what it means.

use core::cell::Cell;

use batchnorm_kernel::Cells;
use batchnorm_kernel::layout::{Layout, MAX_OPERANDS, Operand, Over};
use batchnorm_kernel::renorm::Renorm;
use batchnorm_kernel::statistics::Saved;
use batchnorm_kernel::sweep::Weights;

use crate::abi::{Operation, RecordNumber, RecordSize, Status, Word};
use crate::memory::Memory;
use crate::operations::{Described, OPERATIONS};

const NUMBERS: usize = RecordNumber::Count as usize;

/// Words before the sizes.
const HEADER: usize = Word::Sizes as usize;

/// Words of a tensor before its strides.
const TENSOR: usize = RecordSize::Tensor as usize;

/// Walks of a call, each over tensors of its own.
const WALKS: usize = RecordSize::Tensors as usize / MAX_OPERANDS;

const _: () =
    assert!(Word::Operation as usize == 2 * NUMBERS, "words come right behind the numbers");

/// A call record (see [`crate::abi`]), of which the tensors are checked.
pub struct Record<'a> {
    memory: Memory<'a>,
    header: &'a [Cell<u32>],
    channels: usize,
    pub operation: Operation,
    pub numbers: [f64; NUMBERS],
    /// Of each walk, in the order of [`Operation`]; empty where it has less.
    pub tensors: [[Cells<'a>; MAX_OPERANDS]; WALKS],
}

impl<'a> Record<'a> {
    /// Reads it, and plans the walks over its tensors.
    pub fn read(
        memory: Memory<'a>,
        address: usize,
        walks: [&mut Layout; WALKS],
    ) -> Result<Self, Status> {
        let numbers: &[Cell<f64>] = memory.cells(address, NUMBERS).ok_or(Status::BadAddress)?;
        let header: &[Cell<u32>] = memory.cells(address, HEADER).ok_or(Status::BadAddress)?;
        let word = |word: Word| header[word as usize].get() as usize;
        let [operation, axis, rank] = [Word::Operation, Word::Axis, Word::Rank].map(word);
        let operation = *OPERATIONS.get(operation).ok_or(Status::BadRecord)?;
        let Described { tensors, over, .. } = operation.described();
        if rank > RecordSize::MaxRank as usize {
            return Err(Status::BadRecord);
        }
        let len = rank + tensors * (TENSOR + rank);
        // SAFETY: they are not borrowed beyond this function, which writes to no memory of a
        // record's.
        let words = unsafe { memory.words(address + HEADER * size_of::<u32>(), len) };
        let (sizes, words) = words.ok_or(Status::BadAddress)?.split_at(rank);

        let [layout, second] = walks;
        let (shape, len) = ((sizes, axis, over), MAX_OPERANDS * (TENSOR + rank));
        let (walked, others) = words.split_at(words.len().min(len));
        let mut tensors: [[Cells; MAX_OPERANDS]; WALKS] = [[&[]; MAX_OPERANDS]; WALKS];
        walk(memory, shape, walked, layout, &mut tensors[0])?;
        if !others.is_empty() {
            walk(memory, shape, others, second, &mut tensors[1])?;
        }
        Ok(Self {
            memory,
            header,
            channels: layout.channels,
            operation,
            numbers: core::array::from_fn(|index| numbers[index].get()),
            tensors,
        })
    }

    pub fn word(&self, word: Word) -> usize {
        self.header[word as usize].get() as usize
    }

    /// The values, one a channel, whose address is a word.
    #[inline(always)]
    fn vector(&self, index: usize) -> Result<Option<Cells<'a>>, Status> {
        match self.header[index].get() as usize {
            0 => Ok(None),
            address => {
                self.memory.cells(address, self.channels).map(Some).ok_or(Status::BadAddress)
            }
        }
    }

    /// Two vectors, whose addresses are the words from `first` on.
    #[inline(always)]
    pub fn pair(&self, first: Word) -> Result<[Option<Cells<'a>>; 2], Status> {
        let index = first as usize;
        Ok([self.vector(index)?, self.vector(index + 1)?])
    }

    /// The weights of so many elements of each channel.
    #[inline(always)]
    pub fn weights(&self, count: usize) -> Result<Option<Weights<'a>>, Status> {
        let address = self.word(Word::ElementWeights);
        if address == 0 {
            return Ok(None);
        }
        let total: &[Cell<f64>] = self.memory.cells(address, 1).ok_or(Status::BadAddress)?;
        let each = self.memory.cells(address + size_of::<f64>(), count);
        Ok(Some(Weights { each: each.ok_or(Status::BadAddress)?, total: total[0].get() }))
    }

    /// What corrects the batch's statistics.
    #[inline(always)]
    pub fn renorm(&self) -> Result<Option<Renorm<'a>>, Status> {
        let address = self.word(Word::Renorm);
        if address == 0 {
            return Ok(None);
        }
        let numbers = Renorm::len(self.channels).and_then(|len| self.memory.cells(address, len));
        numbers.and_then(Renorm::new).map(Some).ok_or(Status::BadAddress)
    }

    /// What a forward pass over so many `sets` saves.
    pub fn saved(&self, sets: usize) -> Result<Option<Saved<'a>>, Status> {
        let address = self.word(Word::Saved);
        if address == 0 {
            return Ok(None);
        }
        let len = sets.checked_mul(2).and_then(|len| len.checked_add(self.channels));
        let all = len.and_then(|len| self.memory.cells(address, len)).ok_or(Status::BadAddress)?;
        let (mean, others) = all.split_at(sets);
        let (variance, gamma) = others.split_at(sets);
        Ok(Some(Saved::new([mean, variance, gamma])))
    }
}

/// Reads the tensors of a walk, and plans it. (Inlined it would be 300 bytes more, gzipped.)
#[inline(never)]
fn walk<'a>(
    memory: Memory<'a>,
    (sizes, axis, over): (&[u32], usize, Over),
    words: &[u32],
    layout: &mut Layout,
    tensors: &mut [Cells<'a>; MAX_OPERANDS],
) -> Result<(), Status> {
    let mut operands = [Operand { strides: &[], extent: 0 }; MAX_OPERANDS];
    for (k, tensor) in words.chunks_exact(TENSOR + sizes.len()).enumerate() {
        let operand = Operand { strides: &tensor[TENSOR..], extent: tensor[1] as usize };
        let found = memory.cells(tensor[0] as usize, operand.extent);
        tensors[k] = found.ok_or(Status::BadAddress)?;
        operands[k..].fill(operand);
    }
    layout.plan(sizes, axis, &operands, over).map_err(|_| Status::BadRecord)
}
