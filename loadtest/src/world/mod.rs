//! The counterparties: organisations of our own with DIDs, keys, a credential service and a trusted issuer, as strangers to the platform.

mod identity;
mod issuer;
mod party;
mod server;
mod signed;

pub use identity::{Identity, now};
pub use issuer::Issuer;
pub use party::{Flaw, Party, Region, Tier};
pub use server::World;
pub use signed::{PublicKey, claims, part};

/// Type of the credential that every member of the dataspace has.
pub const MEMBERSHIP: &str = "MembershipCredential";
/// Type of the credential whose claims policies read.
pub const PARTNER: &str = "PartnerCredential";
/// What a party lets a verifier ask for.
pub const SCOPES: [&str; 2] =
    ["org.eclipse.dspace.dcp.vc.type:MembershipCredential:read", "org.eclipse.dspace.dcp.vc.type:PartnerCredential:read"];
