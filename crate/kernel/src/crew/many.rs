//! Several hands.

use alloc::vec::Vec;
use core::cell::Cell;
use core::mem::{replace, take};

use super::{Part, Work};
use crate::layout::{Form, Layout};
use crate::workspace::Workspace;

/// How the caller reaches other hands. It is the first of them.
#[derive(Clone, Copy, Debug)]
pub struct Hands {
    /// How many can be at work now, the caller among them, where so many bytes are to be read and
    /// written: below 2 the caller goes on alone.
    pub number: fn(bytes: usize) -> usize,
    /// Has each of so many parts done once, by any hand that is below the crew's number and does
    /// nothing else, and then returns.
    pub share: fn(parts: usize, part: &dyn Fn(usize, usize)),
}

/// What a hand works with.
#[derive(Debug)]
pub struct Desk {
    /// The walk of what it does, where that is not the caller's.
    pub(crate) layout: Layout,
    /// Constants and sums of that.
    pub(crate) workspace: Workspace,
    /// Which constants are there: those of a share, and of a stretch of it.
    pub(crate) constants_of: [usize; 2],
}

/// Hands and their desks.
#[derive(Debug)]
pub struct Crew {
    hands: Option<Hands>,
    desks: Vec<Desk>,
    /// Two sums of each column in each block of a walk.
    sums: Vec<Cell<f64>>,
    /// How often something was shared.
    shares: usize,
}

impl Crew {
    pub(crate) const ALONE: Self =
        Self { hands: None, desks: Vec::new(), sums: Vec::new(), shares: 0 };

    /// So many hands; fewer where there is no memory for their desks. Returns how many.
    pub fn enlist(&mut self, hands: Hands, number: usize) -> usize {
        self.hands = Some(hands);
        self.desks.truncate(number);
        if self.desks.try_reserve_exact(number.saturating_sub(self.desks.len())).is_ok() {
            self.desks.resize_with(number, || Desk {
                layout: Layout::NOTHING,
                workspace: Workspace::new(),
                constants_of: [0; 2],
            });
        }
        self.desks.len()
    }

    /// Makes room for a walk that is worth sharing. Where there is none, nothing is shared.
    pub(crate) fn reserve(&mut self, layout: &Layout) {
        if self.desks.len() < 2 || layout.len() * layout.samples < layout.limits.block {
            return;
        }
        for desk in &mut self.desks {
            if desk.workspace.reserve(layout).is_err() {
                return;
            }
        }
        self.reserve_sums(Self::blocks(layout) * 2 * layout.columns());
    }

    fn reserve_sums(&mut self, len: usize) {
        if self.sums.len() < len && self.sums.try_reserve_exact(len - self.sums.len()).is_ok() {
            self.sums.resize(len, Cell::new(0.0));
        }
    }

    /// Makes room for work whose parts each walk over `layout`, if it is worth sharing.
    pub(crate) fn reserve_for(&mut self, work: &Work, layout: &Layout) {
        if self.desks.len() < 2 || work.parts < 2 {
            return;
        }
        for Desk { workspace, .. } in &mut self.desks {
            let reserved = workspace
                .reserve(layout)
                .and_then(|()| workspace.reserve_along(work.along))
                .and_then(|()| workspace.reserve_packed(work.packed))
                .and_then(|()| workspace.reserve_gradients(work.gradients));
            if reserved.is_err() {
                return;
            }
        }
        self.reserve_sums(work.sums);
    }

    /// Blocks of a walk or of one over the same elements with several channels as one.
    fn blocks(layout: &Layout) -> usize {
        if layout.form == Form::Runs { Layout::MOST_BLOCKS } else { layout.blocks().count() }
    }

    /// Makes room for packed rows, likewise.
    pub(crate) fn reserve_packed(&mut self, len: usize) {
        for desk in &mut self.desks {
            if desk.workspace.reserve_packed(len).is_err() {
                return;
            }
        }
    }

    /// Whether it is worth to share a walk over a layout that reads and writes so many `bytes`, and
    /// each desk has room for it, and for so many elements of packed rows.
    pub(crate) fn shares(&self, layout: &Layout, packed: usize, bytes: usize) -> bool {
        let Some(hands) = self.hands else { return false };
        let has_room = |desk: &Desk| desk.workspace.has_room(layout, packed);
        self.desks.len() > 1 && self.desks.iter().all(has_room) && (hands.number)(bytes) > 1
    }

    /// One of the sums that parts have left.
    pub(crate) fn sum(&self, at: usize) -> f64 {
        self.sums[at].get()
    }

    /// Two sums of each column in each block, or what else parts leave: as many as were reserved.
    pub(crate) fn sums(&mut self) -> &mut Vec<Cell<f64>> {
        &mut self.sums
    }

    /// Has each of so many parts done once, by some hand at its desk. A part is told the share's
    /// number, which no other one has.
    pub(crate) fn share(&mut self, parts: usize, part: &dyn Fn(&mut Desk, usize, usize)) {
        self.shares = self.shares.wrapping_add(1);
        let share = self.shares;
        let number = self.desks.len();
        let first = self.desks.as_mut_ptr();
        let hands = self.hands.expect("there are desks, and so hands");
        (hands.share)(parts, &|hand, index| {
            assert!(hand < number && index < parts, "a hand or a part that there isn't");
            // SAFETY: there is such a desk, `self` is borrowed for as long as the parts are done,
            // and a hand does one thing at a time, which `Hands::share` promises.
            part(unsafe { &mut *first.add(hand) }, share, index);
        });
    }
}

/// Shares work whose parts each walk over `layout`, if that is worth it; whether it did.
#[inline(never)]
pub(crate) fn share_out(
    work: &Work,
    layout: &Layout,
    workspace: &mut Workspace,
    part: &Part,
) -> bool {
    let &Work { number, parts, .. } = work;
    let bytes = work.elements * size_of::<f32>();
    if parts < 2 || !workspace.crew.shares(layout, work.packed, bytes) {
        return false;
    }
    let mut crew = replace(&mut workspace.crew, Crew::ALONE);
    let sums = take(&mut crew.sums);
    let has_room = |desk: &Desk| desk.workspace.has_room_for(work.along, work.gradients);
    let is_shared = sums.len() >= work.sums && crew.desks.iter().all(has_room);
    if is_shared {
        crew.share(parts, &|desk, _, index| {
            let stretch = index * number / parts..(index + 1) * number / parts;
            part((&mut desk.layout, &mut desk.workspace), &sums, stretch, index);
        });
    }
    crew.sums = sums;
    workspace.crew = crew;
    is_shared
}
