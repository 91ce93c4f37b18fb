//! What each operation has, needs and writes: one that isn't described here doesn't compile.

use batchnorm_kernel::layout::Over;

use crate::abi::Operation;

/// What a record of an operation says, and what a call of it may do.
pub struct Described {
    /// What its statistics are of.
    pub over: Over,
    /// How many of a record's tensors it has.
    pub tensors: usize,
    /// What it may write.
    pub writes: &'static [Output],
    /// Whether there have to be saved values.
    pub needs_saved: bool,
    /// Whether means and variances may be given: then it needs no saved values, and moves no
    /// accumulators.
    pub may_be_given: bool,
}

/// What a call may write.
pub enum Output {
    /// The record's tensor of this number.
    Tensor(usize),
    Saved,
    Accumulators,
}

macro_rules! operations {
    ($($name:ident $described:tt)*) => {
        /// By the numbers that a record has for them.
        pub const OPERATIONS: &[Operation] = &[$(Operation::$name),*];

        impl Operation {
            #[inline(always)]
            pub const fn described(self) -> Described {
                match self { $(Self::$name => Described $described,)* }
            }
        }
    };
}

operations! {
    Forward {
        over: Over::Batch,
        tensors: 2,
        writes: &[Output::Tensor(1), Output::Saved, Output::Accumulators],
        needs_saved: true,
        may_be_given: true,
    }
    Statistics {
        over: Over::Batch,
        tensors: 1,
        writes: &[Output::Saved],
        needs_saved: true,
        may_be_given: false,
    }
    Backward {
        over: Over::Batch,
        tensors: 3,
        writes: &[Output::Tensor(2), Output::Accumulators],
        needs_saved: true,
        may_be_given: false,
    }
    Update {
        over: Over::Batch,
        tensors: 1,
        writes: &[Output::Accumulators],
        needs_saved: true,
        may_be_given: false,
    }
    GroupForward {
        over: Over::Sample,
        tensors: 2,
        writes: &[Output::Tensor(1), Output::Saved],
        needs_saved: false,
        may_be_given: false,
    }
    GroupBackward {
        over: Over::Sample,
        tensors: 3,
        writes: &[Output::Tensor(2), Output::Accumulators],
        needs_saved: true,
        may_be_given: false,
    }
    LayerForward {
        over: Over::Row,
        tensors: 2,
        writes: &[Output::Tensor(1), Output::Saved],
        needs_saved: false,
        may_be_given: false,
    }
    LayerBackward {
        over: Over::Row,
        tensors: 3,
        writes: &[Output::Tensor(2), Output::Accumulators],
        needs_saved: true,
        may_be_given: false,
    }
    RmsForward {
        over: Over::Row,
        tensors: 2,
        writes: &[Output::Tensor(1), Output::Saved],
        needs_saved: false,
        may_be_given: false,
    }
    RmsBackward {
        over: Over::Row,
        tensors: 3,
        writes: &[Output::Tensor(2), Output::Accumulators],
        needs_saved: true,
        may_be_given: false,
    }
    UnitForward {
        over: Over::Row,
        tensors: 2,
        writes: &[Output::Tensor(1), Output::Saved],
        needs_saved: false,
        may_be_given: false,
    }
    UnitBackward {
        over: Over::Row,
        tensors: 3,
        writes: &[Output::Tensor(2), Output::Accumulators],
        needs_saved: true,
        may_be_given: false,
    }
}

const _: () = {
    let mut index = 0;
    while index < OPERATIONS.len() {
        assert!(OPERATIONS[index] as usize == index, "in the order of their numbers");
        index += 1;
    }
};
