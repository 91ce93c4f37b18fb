//! Other instances of the module, in other threads, over the same memory: hands of a crew.
//!
//! They run nothing but [`part`], each on a stack of its own, and take no memory: the heap is
//! borrowed while parts are done, so that whoever asks it for some traps.
//!
//! To Rust each instance is a program of one thread, whose memory may be changed by what it calls,
//! here by [`imported::share`]. What happens before what between threads is the matter of
//! `ts/threads`: it publishes, claims and joins parts by atomic operations, all sequentially
//! consistent, and what comes before one is seen after the other.

use batchnorm_kernel::crew::Hands;
use core::ptr::with_exposed_provenance;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::STATE;
use crate::heap::HEAP;

mod imported {
    #[link(wasm_import_module = "crew")]
    unsafe extern "C" {
        /// How many hands can be at work on so many bytes.
        pub safe fn hands(bytes: usize) -> usize;
        /// Has [`super::part`] called once for each of so many parts of a job, and returns then.
        pub safe fn share(parts: usize, job: usize);
    }
}

/// Parts that are shared.
type Job<'a> = &'a dyn Fn(usize, usize);

const HANDS: Hands = Hands {
    number: |bytes| imported::hands(bytes),
    share: |parts, part| {
        let job: Job = part;
        let heap = HEAP.borrow_mut();
        imported::share(parts, (&raw const job).expose_provenance());
        drop(heap);
    },
};

/// Has so many hands share long walks from now on; fewer where there is no memory for them.
#[wasm_bindgen]
pub fn enlist(hands: usize) -> usize {
    STATE.borrow_mut().workspace.crew.enlist(HANDS, hands)
}

/// Does a part of a job that `share` was called with and has not returned from, by a hand that does
/// nothing else.
#[wasm_bindgen]
pub fn part(job: usize, hand: usize, index: usize) {
    // SAFETY: it is the address that `share` was called with, whose caller waits: that is what
    // callers of this owe, and `ts/threads` keeps.
    let part = unsafe { *with_exposed_provenance::<Job>(job) };
    part(hand, index);
}
