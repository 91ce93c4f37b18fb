//! What every instance of the module has one of.

use core::cell::{RefCell, RefMut};

/// A value of which every instance of the module has one.
///
/// A call that traps never gives it back: whatever comes after traps, too, and never sees
/// what was left half done.
pub struct PerInstance<T>(RefCell<T>);

// SAFETY: without atomics an instance has one thread. Where several instances have one memory, those
// that do parts touch no such value (see `crew`).
#[cfg(not(target_feature = "atomics"))]
unsafe impl<T> Sync for PerInstance<T> {}

impl<T> PerInstance<T> {
    pub const fn new(value: T) -> Self {
        Self(RefCell::new(value))
    }

    pub fn borrow_mut(&self) -> RefMut<'_, T> {
        self.0.borrow_mut()
    }
}
