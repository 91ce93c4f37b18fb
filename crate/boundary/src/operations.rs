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
    /// What corrects the batch's statistics, where there are saved values.
    Renorm,
    Accumulators,
}

/// What the others are made of: an operation on x alone that needs saved values.
const OWN: Described = Described {
    over: Over::Batch,
    tensors: 1,
    writes: &[],
    needs_saved: true,
    may_be_given: false,
};

/// x to y, by statistics that are the batch's or given.
const FORWARD: Described = Described {
    tensors: 2,
    writes: &[Output::Tensor(1), Output::Saved, Output::Renorm, Output::Accumulators],
    may_be_given: true,
    ..OWN
};

/// x to y, by statistics that are saved where there is an address to.
const fn forward(over: Over) -> Described {
    let writes = &[Output::Tensor(1), Output::Saved];
    Described { over, tensors: 2, writes, needs_saved: false, ..OWN }
}

/// x and dy to dx, by what was saved.
const fn backward(over: Over) -> Described {
    let writes = &[Output::Tensor(2), Output::Accumulators];
    Described { over, tensors: 3, writes, ..OWN }
}

macro_rules! operations {
    ($($name:ident => $described:expr,)*) => {
        /// By the numbers that a record has for them.
        pub const OPERATIONS: &[Operation] = &[$(Operation::$name),*];

        impl Operation {
            #[inline(always)]
            pub const fn described(self) -> Described {
                match self { $(Self::$name => $described,)* }
            }
        }
    };
}

operations! {
    Forward => FORWARD,
    Statistics => Described { writes: &[Output::Saved], ..OWN },
    Backward => backward(Over::Batch),
    Update => Described { writes: &[Output::Accumulators], ..OWN },
    GroupForward => forward(Over::Sample),
    GroupBackward => backward(Over::Sample),
    LayerForward => forward(Over::Row),
    LayerBackward => backward(Over::Row),
    RmsForward => forward(Over::Row),
    RmsBackward => backward(Over::Row),
    UnitForward => forward(Over::Row),
    UnitBackward => backward(Over::Row),
    ActivatedForward => FORWARD,
    ResidualForward => Described {
        tensors: 3,
        writes: &[Output::Tensor(2), Output::Saved, Output::Renorm, Output::Accumulators],
        ..FORWARD
    },
    ActivatedBackward => Described {
        tensors: 6,
        writes: &[Output::Tensor(2), Output::Tensor(5), Output::Accumulators],
        ..OWN
    },
}

const _: () = {
    let mut index = 0;
    while index < OPERATIONS.len() {
        assert!(OPERATIONS[index] as usize == index, "in the order of their numbers");
        index += 1;
    }
};
