//! Who calls, and what the caller may do.

pub mod authorize;
pub mod caller;
pub mod claims;
pub mod issuer;
pub mod keys;
pub mod known;
pub mod planes;
pub mod scope;
pub mod verify;

pub use authorize::{Denial, Need, authorize};
pub use caller::{Caller, Origin};
pub use claims::{Claims, MAX_TOKEN_BYTES};
pub use issuer::{IssuerConfig, RemoteIssuer};
pub use keys::KeySet;
pub use known::KnownParticipants;
pub use planes::PlaneCallers;
pub use scope::{Action, Scope};
pub use verify::Verifier;
