//! From a record to the kernel, a file a norm; here is what they share.

pub mod batch;
pub mod group;
pub mod layer;

use batchnorm_kernel::Workspace;
use batchnorm_kernel::layout::Layout;
use batchnorm_kernel::statistics::Saved;

use crate::abi::Status;

/// Asked for once a vector of all channels was found in memory: no made-up shape makes it large.
#[inline(never)]
fn reserve(workspace: &mut Workspace, layout: &Layout) -> Result<(), Status> {
    workspace.reserve(layout).map_err(|_| Status::OutOfMemory)
}

/// Saved values that there have to be.
#[inline(always)]
fn needed(saved: Option<Saved>) -> Result<Saved, Status> {
    saved.ok_or(Status::BadRecord)
}
