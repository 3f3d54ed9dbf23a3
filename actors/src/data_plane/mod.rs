//! The data plane of one participant: which flows run, from which sources, under which tokens. It knows no policy.

pub mod admission;
pub mod source;
pub mod target;
pub mod workers;

pub use admission::{Admission, Full, Limits, Permit};
pub use source::Source;
pub use target::TargetError;
pub use workers::Workers;
