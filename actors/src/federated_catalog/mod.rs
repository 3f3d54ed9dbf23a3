//! The federated catalog: catalogs of many providers in one answer, looked at before somebody asks.
//!
//! A *crawl* looks at one target in one profile with the credentials of one participant, and keeps a *view* of what that is shown. The views of a
//! participant are those of its own crawls, filtered by nobody but the providers; where a profile names a participant that crawls for all, one
//! crawl serves everybody there, and each is shown what its own credentials may open ([`visible`](mod@visible)).
//!
//! One agent per participant ([`FederatedCatalog`]) knows its target nodes and how its crawls stand; views lie in a table apart, so that neither the
//! agent's state nor an activation grows with them. A crawl is an outbox row in the background, so that it takes no room from what somebody waits for;
//! deadlines begin the next one, as long as somebody asks for the view.

mod agent;
mod claims;
mod crawl;
mod decide;
mod gather;
mod key;
mod link;
mod overview;
mod pace;
mod state;
#[cfg(test)]
mod tests;
mod visible;

pub use agent::{Command, Effect, FederatedCatalog, Found, Outcome, Refusal, Reply, Wanted, address, forget, installation};
pub use key::CrawlKey;
pub use link::next_page;
pub use overview::{Entry, Overview, overview};
pub use pace::{CrawlOptions, Pace};
pub use state::{Crawl, Failure, Seen, State};

/// Target nodes of one participant, or of the installation, at most.
pub const MAX_TARGETS: usize = 256;
/// Crawls of one participant at most.
pub const MAX_CRAWLS: usize = 1_024;
/// Bytes of all views of one participant at most.
pub const MAX_KEPT: usize = 64 << 20;
/// Bytes of one view at most, and of all the answers that it is made of.
pub const MAX_VIEW: usize = 2 << 20;
/// Datasets and catalogs in one view at most.
pub const MAX_DATASETS: usize = 10_000;
/// Pages that one crawl reads at most.
pub const MAX_PAGES: usize = 256;
