//! Agents of other nodes: commands and questions that cross owners, and so may cross nodes.
//!
//! Nearly all that an agent is asked comes from its own owner's side, and is asked where the owner's slot is ([`crate::Cluster::ask`], [`crate::Cluster::read`]).
//! What crosses owners is asked by [`crate::Cluster::ask_anywhere`] and [`crate::Cluster::query`]: an agent says in [`crate::Agent::reach`] what others may ask
//! it that way. On one node both are what the others are, with one branch more.
//!
//! A call takes at most two hops. What is known not to have been executed is tried again while there is time; a command whose answer was lost is
//! *unknown*, a question whose answer was lost was none.

mod ask;
mod message;
mod reach;

pub use message::{AgentAnswer, AgentCall, What, millis, time_there};
pub(crate) use message::{GRACE, LONGEST};
pub use reach::{Query, Reach};
