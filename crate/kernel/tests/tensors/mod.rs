//! Tensors of any shape and strides, with sentinels around and between their
//! elements, and what they are filled with.
#![allow(dead_code, reason = "every test crate uses a part of it")]

use std::cell::Cell;
use std::ops::RangeInclusive;

use batchnorm_kernel::Cells;
use batchnorm_kernel::layout::{Layout, LayoutError, Limits, Operand, Over, TILE};
use proptest::prelude::*;

use crate::naive::Channels;
use random::Random;

pub mod random;

/// Stands where no element is: a NaN, so that reading it is seen as well.
const SENTINEL: u32 = 0x7fc0_beef;

/// Sizes, which of them counts channels, and where walks over it are cut.
#[derive(Clone, Debug)]
pub struct Shape {
    pub sizes: Vec<u32>,
    pub axis: usize,
    pub limits: Limits,
}

impl Shape {
    pub fn new<const R: usize>(sizes: [u32; R], axis: usize) -> Self {
        Self { sizes: sizes.to_vec(), axis, limits: Limits::DEFAULT }
    }

    pub fn len(&self) -> usize {
        self.sizes.iter().map(|&size| size as usize).product()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn channels(&self) -> Channels {
        Channels::along(&self.sizes, self.axis)
    }

    pub fn channel_count(&self) -> usize {
        self.sizes[self.axis] as usize
    }

    pub fn layout(&self, operands: &[&Placement]) -> Result<Layout, LayoutError> {
        self.layout_over(Over::Batch, operands)
    }

    pub fn layout_over(&self, over: Over, operands: &[&Placement]) -> Result<Layout, LayoutError> {
        let operands: Vec<_> = operands.iter().map(|placement| placement.operand(self)).collect();
        let mut layout = Layout::default();
        layout.limits = self.limits;
        // Those that are not there are as the first.
        let all = [0, 1, 2].map(|k| operands.get(k).unwrap_or(&operands[0])).map(Operand::clone);
        layout.plan(&self.sizes, self.axis, &all, over)?;
        Ok(layout)
    }
}

/// Where the elements of a tensor lie.
#[derive(Clone, Debug)]
pub struct Placement {
    pub strides: Vec<u32>,
    /// Elements before the first one.
    pub offset: usize,
}

impl Placement {
    pub fn contiguous(shape: &Shape) -> Self {
        Self::permuted(shape, &(0..shape.sizes.len()).collect::<Vec<_>>())
    }

    /// Contiguous in memory in the order `order` of the dimensions.
    pub fn permuted(shape: &Shape, order: &[usize]) -> Self {
        Self::sliced(shape, order, &vec![(0, 1, 0); order.len()], 0)
    }

    /// Every dimension is a slice of a larger one, with `(before, step, after)`.
    pub fn sliced(shape: &Shape, order: &[usize], slices: &[(u32, u32, u32)], offset: u32) -> Self {
        let mut strides = vec![0; order.len()];
        let (mut stride, mut offset) = (1, offset);
        for &dim in order.iter().rev() {
            let (before, step, after) = slices[dim];
            strides[dim] = stride * step;
            offset += stride * before;
            stride *= before + (shape.sizes[dim] - 1) * step + 1 + after;
        }
        Self { strides, offset: offset as usize }
    }

    /// All elements along `dim` are the same one.
    fn expanded(mut self, dim: usize) -> Self {
        self.strides[dim] = 0;
        self
    }

    /// From the first element to the last, and no further.
    pub fn operand(&self, shape: &Shape) -> Operand<'_> {
        if shape.is_empty() {
            return Operand { strides: &self.strides, extent: 0 };
        }
        let steps = shape.sizes.iter().zip(&self.strides);
        let last: u32 = steps.map(|(size, stride)| (size - 1) * stride).sum();
        Operand { strides: &self.strides, extent: last as usize + 1 }
    }

    /// Distance of every element from the first, in row-major order of the indices.
    pub fn places(&self, shape: &Shape) -> Vec<usize> {
        let mut places = vec![0];
        for (&size, &stride) in shape.sizes.iter().zip(&self.strides) {
            let steps = |place: usize| (0..size).map(move |step| place + (step * stride) as usize);
            places = places.into_iter().flat_map(steps).collect();
        }
        places
    }
}

/// A tensor and the memory that it lies in.
pub struct Tensor {
    pub placement: Placement,
    memory: Vec<Cell<f32>>,
    places: Vec<usize>,
    len: usize,
}

impl Tensor {
    /// Lets no element have a value but the sentinel's.
    pub fn empty(shape: &Shape, placement: &Placement) -> Self {
        let len = placement.operand(shape).extent;
        let memory = vec![Cell::new(f32::from_bits(SENTINEL)); placement.offset + len + 40];
        Self { placement: placement.clone(), memory, places: placement.places(shape), len }
    }

    /// Has `values`, in row-major order of the indices.
    pub fn new(shape: &Shape, placement: &Placement, values: &[f32]) -> Self {
        let tensor = Self::empty(shape, placement);
        for (place, &value) in tensor.places.iter().zip(values) {
            tensor.cells()[*place].set(value);
        }
        tensor
    }

    pub fn contiguous(shape: &Shape, values: &[f32]) -> Self {
        Self::new(shape, &Placement::contiguous(shape), values)
    }

    /// Memory from the first element to the last.
    pub fn cells(&self) -> Cells<'_> {
        &self.memory[self.placement.offset..][..self.len]
    }

    pub fn values(&self) -> Vec<f32> {
        self.places.iter().map(|&place| self.cells()[place].get()).collect()
    }

    pub fn wide(&self) -> Vec<f64> {
        wide(&self.values())
    }

    pub fn bits(&self) -> Vec<u32> {
        bits(&self.values())
    }

    /// Fails if anything was written where no element is.
    pub fn assert_sentinels(&self) {
        let mut is_element = vec![false; self.memory.len()];
        for place in &self.places {
            is_element[self.placement.offset + place] = true;
        }
        for (at, (cell, is_element)) in self.memory.iter().zip(is_element).enumerate() {
            assert!(is_element || cell.get().to_bits() == SENTINEL, "sentinel {at} is overwritten");
        }
    }
}

pub fn cells<T: Copy>(values: &[T]) -> Vec<Cell<T>> {
    values.iter().map(|&value| Cell::new(value)).collect()
}

pub fn values<T: Copy>(cells: &[Cell<T>]) -> Vec<T> {
    cells.iter().map(Cell::get).collect()
}

pub fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

/// Bits of every value, with one for all NaNs.
pub fn bits(values: &[f32]) -> Vec<u32> {
    let one_nan = |value: &f32| if value.is_nan() { f32::NAN } else { *value };
    values.iter().map(|value| one_nan(value).to_bits()).collect()
}

/// A shape, where three operands lie, and a seed for their values.
#[derive(Clone, Debug)]
pub struct Case {
    pub shape: Shape,
    pub operands: [Placement; 3],
    pub seed: u64,
}

/// Shapes of rank 1 to 6 of about `len` elements at most, with every kind of tail.
pub fn shapes(len: RangeInclusive<u32>) -> impl Strategy<Value = Shape> {
    const TAILS: u32 = 2 * TILE as u32 + 1;
    let size = prop_oneof![Just(1), 2u32..=4, 5u32..=TAILS];
    let stretched = proptest::option::of(any::<prop::sample::Index>());
    let sizes = (prop::collection::vec(size, 1..=6), any::<prop::sample::Index>());
    (sizes, stretched, len, limits()).prop_map(|((mut sizes, axis), stretched, len, limits)| {
        let mut product = 1;
        for size in &mut sizes {
            *size = (*size).min(len / product).max(1);
            product *= *size;
        }
        if let Some(index) = stretched {
            let dim = index.index(sizes.len());
            sizes[dim] *= (len / product).max(1);
        }
        let axis = axis.index(sizes.len());
        Shape { sizes, axis, limits }
    })
}

/// Those of the kernel, or so low ones that small tensors are cut in every way.
fn limits() -> impl Strategy<Value = Limits> {
    let any = || 1usize..1000;
    let low = (any(), any(), any(), any(), any(), any()).prop_map(
        |(band, slice, block, piece, near, far)| Limits { band, slice, block, piece, near, far },
    );
    prop_oneof![Just(Limits::DEFAULT), low]
}

/// Contiguous, permuted and sliced ways for a shape to lie.
pub fn placements(shape: Shape) -> impl Strategy<Value = Placement> {
    let rank = shape.sizes.len();
    let order: Vec<_> = (0..rank).collect();
    let slice = prop_oneof![4 => Just((0, 1, 0)), 1 => (0u32..3, 1u32..3, 0u32..3)];
    let slices = prop_oneof![
        Just(vec![(0, 1, 0); rank]).boxed(),
        prop::collection::vec(slice, rank).boxed(),
    ];
    let orders =
        prop_oneof![3 => Just(order.clone()).boxed(), 1 => Just(order).prop_shuffle().boxed()];
    (orders, slices, 0u32..6)
        .prop_map(move |(order, slices, offset)| Placement::sliced(&shape, &order, &slices, offset))
}

/// Operands that lie alike or each in its own way; the first ones may repeat elements.
pub fn cases(len: RangeInclusive<u32>) -> impl Strategy<Value = Case> {
    let each = shapes(len).prop_flat_map(|shape| {
        let rank = shape.sizes.len();
        let placements = || placements(shape.clone());
        let alike = placements().prop_map(|operand| [(); 3].map(|()| operand.clone()));
        let different = [placements(), placements(), placements()];
        let expanded = (placements(), placements(), 0..rank)
            .prop_map(|(a, b, dim)| [a.expanded(dim), b.clone(), b]);
        let operands = prop_oneof![3 => alike, 3 => different, 1 => expanded];
        (Just(shape), operands, any::<u64>())
    });
    let each = each.prop_map(|(shape, operands, seed)| Case { shape, operands, seed });
    prop_oneof![12 => each, 1 => joined()]
}

/// Rows of so few channels, and so many of them, that a walk joins them to wider ones.
fn joined() -> impl Strategy<Value = Case> {
    (prop_oneof![Just(2), Just(4), Just(8), Just(3)], 0..40u32, any::<u64>()).prop_map(
        |(channels, more, seed)| {
            let rows = if channels == 3 { 4096 } else { 4096 / channels };
            let shape = Shape::new([rows + more, channels], 1);
            let operand = Placement::contiguous(&shape);
            Case { shape, operands: [(); 3].map(|()| operand.clone()), seed }
        },
    )
}

/// Normal values, of a mean and a spread that differ from channel to channel.
pub fn activations(channels: &Channels, random: &mut Random) -> Vec<f32> {
    let mut size = || 10f64.powf(6.0 * random.uniform() - 3.0);
    let sizes: Vec<_> = (0..channels.number).map(|_| (size(), size())).collect();
    let of_channel = |&channel: &usize| {
        let (mean, std) = sizes[channel];
        (mean + std * random.normal()) as f32
    };
    channels.of.iter().map(of_channel).collect()
}
