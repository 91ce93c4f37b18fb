//! The module's heap: one pool of memory, from behind the statics to the end, that grows
//! where it is, so that what is freed joins its neighbours whatever growth they came with.

extern crate alloc;

use alloc::alloc::{Layout as Request, alloc, alloc_zeroed, dealloc};

use crate::abi::Contents;

#[cfg(all(feature = "threads", target_family = "wasm"))]
pub use growing::HEAP;
#[cfg(target_arch = "wasm32")]
pub use growing::{PAGE, base};

/// A cache line; vectors need 16.
const LINE: usize = 64;

/// From `LARGE` bytes on. Processors compare the last twelve bits of addresses: where a tensor
/// that is written lay a little behind one that is read, loads would wait for stores that
/// only look like theirs (up to a tenth of the time).
const SMALL_PAGE: usize = 4096;
const LARGE: usize = 1 << 18;

fn request(bytes: usize) -> Option<Request> {
    // An empty tensor has an address too: one byte.
    let of = |alignment| Request::from_size_align(bytes.max(1), alignment).ok();
    // The largest ones have no room for more than a line.
    if bytes < LARGE { of(LINE) } else { of(SMALL_PAGE).or_else(|| of(LINE)) }
}

pub fn allocate(bytes: usize, contents: Contents) -> usize {
    let Some(request) = request(bytes) else { return 0 };
    // SAFETY: its size is not zero.
    let pointer = unsafe {
        match contents {
            Contents::Arbitrary => alloc(request),
            Contents::Zero => alloc_zeroed(request),
        }
    };
    pointer.expose_provenance()
}

pub fn release(address: usize, bytes: usize) {
    if let Some(request) = request(bytes) {
        // SAFETY: the caller owes an address from `allocate` with the same
        // number of bytes, and to forget it; `ts/core/memory.ts` does so.
        unsafe { dealloc(core::ptr::with_exposed_provenance_mut(address), request) }
    }
}

#[cfg(target_arch = "wasm32")]
mod growing {
    use alloc::alloc::{GlobalAlloc, Layout as Request};
    use core::arch::wasm32::{memory_grow, memory_size};
    use core::ptr::{self, NonNull, with_exposed_provenance, with_exposed_provenance_mut};

    use rlsf::{GRANULARITY, Tlsf};

    use super::alloc;
    use crate::per_instance::PerInstance;

    /// Bytes of WebAssembly's unit of memory.
    pub const PAGE: usize = 65_536;

    unsafe extern "C" {
        /// The linker's: what is behind the stack and the statics.
        static __heap_base: u8;
    }

    /// Where the heap begins.
    pub fn base() -> usize {
        (&raw const __heap_base).expose_provenance()
    }

    #[global_allocator]
    pub static HEAP: PerInstance<Heap> = PerInstance::new(Heap { free: Tlsf::new(), end: 0 });

    pub struct Heap {
        /// 28 powers of two from [`GRANULARITY`] on are all sizes: pools can be appended to.
        free: Tlsf<'static, u32, u32, 28, 32>,
        /// Of the pool that grows; 0 before there is one.
        end: usize,
    }

    // SAFETY: rlsf's blocks are as large and as aligned as was asked for, nobody else's, and
    // in pools that nobody else writes to.
    unsafe impl GlobalAlloc for PerInstance<Heap> {
        unsafe fn alloc(&self, request: Request) -> *mut u8 {
            self.borrow_mut().allocate(request).map_or(ptr::null_mut(), NonNull::as_ptr)
        }

        unsafe fn dealloc(&self, pointer: *mut u8, request: Request) {
            // SAFETY: the caller's: it is an allocation of `alloc`, and so not null.
            unsafe {
                self.borrow_mut().free.deallocate(NonNull::new_unchecked(pointer), request.align());
            }
        }
    }

    impl Heap {
        #[inline(never)]
        fn allocate(&mut self, request: Request) -> Option<NonNull<u8>> {
            if self.end == 0 {
                // SAFETY: the linker leaves to the heap all that is there.
                unsafe { self.take_in(base(), memory_size(0) * PAGE) }
            }
            self.free.allocate(request).or_else(|| {
                self.grow(request)?;
                self.free.allocate(request)
            })
        }

        /// Makes room for a request: a quarter more memory, so that many of them grow it but a
        /// few times; less where that is refused, down to what it needs.
        #[cold]
        fn grow(&mut self, request: Request) -> Option<()> {
            let size = memory_size(0);
            // A list of free blocks has sizes of which the smallest is 1/32 less than the
            // largest, and is searched only if the smallest suffices.
            let needed = request.size() + request.size() / 32 + request.align() + 4 * GRANULARITY;
            // Somebody else may have grown it: what is behind our end is not ours.
            let there = if size * PAGE == self.end { self.free_at_the_end() } else { 0 };
            let least = needed.saturating_sub(there).div_ceil(PAGE).max(1);
            let mut pages = least.max(size / 4);
            while memory_grow(0, pages) == usize::MAX {
                if pages == least {
                    return None;
                }
                pages = least.max(pages / 2);
            }
            // SAFETY: they are new, and so nobody's.
            unsafe { self.take_in(size * PAGE, (size + pages) * PAGE) }
            Some(())
        }

        /// Takes in memory from `start` to `end`: into the pool, where it ends there.
        ///
        /// # Safety
        /// It must be nobody's.
        unsafe fn take_in(&mut self, start: usize, end: usize) {
            let memory = with_exposed_provenance_mut(start);
            let memory = ptr::slice_from_raw_parts_mut(memory, end - start);
            // SAFETY: it isn't null, which the stack is, nobody's, and no less than a page.
            unsafe {
                let memory = NonNull::new_unchecked(memory);
                if start == self.end {
                    self.free.append_free_block_ptr(memory);
                } else {
                    self.free.insert_free_block_ptr(memory);
                }
            }
            self.end = end;
        }

        /// Bytes of the pool's last block, if it is free. rlsf knows, but doesn't tell: a
        /// block begins with its size, in whose last bit it says that it is used, and the
        /// address of the block before it; the pool ends with a block of nothing else.
        fn free_at_the_end(&self) -> usize {
            // SAFETY: such are the pools of this version of rlsf, and no other is asked for.
            unsafe {
                let [_, last] = *with_exposed_provenance::<[usize; 2]>(self.end - GRANULARITY);
                let size = *with_exposed_provenance::<usize>(last);
                if size & 1 == 0 { size } else { 0 }
            }
        }
    }
}
