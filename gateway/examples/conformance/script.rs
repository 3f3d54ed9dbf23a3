//! What the suite expects the system under test to do without being asked, by the id that each of its tests uses. What is not said here does not
//! happen: the process stays in its state.

use cellspace_actors::control_plane::{
    negotiation::{self, Command, Negotiation},
    transfer,
};
use negotiation::State as N;
use transfer::State as T;

/// Datasets of tests in which the system under test is the provider.
pub const NEGOTIATED: [&str; 15] = [
    "ACN0101", "ACN0102", "ACN0103", "ACN0104", "ACN0201", "ACN0202", "ACN0203", "ACN0204", "ACN0205", "ACN0206", "ACN0207", "ACN0301",
    "ACN0302", "ACN0303", "ACN0304",
];
/// Datasets of tests in which it is the consumer; they are the suite's.
pub const ASKED_FOR: [&str; 16] = [
    "ACNC0101", "ACNC0102", "ACNC0103", "ACNC0104", "ACNC0201", "ACNC0202", "ACNC0203", "ACNC0204", "ACNC0205", "ACNC0206", "ACNC0301",
    "ACNC0302", "ACNC0303", "ACNC0304", "ACNC0305", "ACNC0306",
];
/// Datasets of the tests of catalogs.
pub const SHOWN: [&str; 2] = ["CAT0101", "CAT0102"];
/// A dataset that is not there.
pub const MISSING: &str = "CAT0103";
/// Agreements of tests of transfers, without their prefix: `ATP` where the system under test is the provider, `ATPC` where it is the consumer.
pub const TRANSFERRED: [&str; 16] =
    ["0101", "0102", "0103", "0104", "0105", "0201", "0202", "0203", "0204", "0205", "0301", "0302", "0303", "0304", "0305", "0306"];

/// A step of a negotiation.
#[derive(Debug, Clone, Copy)]
pub enum Deal {
    Offer,
    CounterOffer,
    Accept,
    Agree,
    Verify,
    Finalize,
    Terminate,
}

impl Deal {
    /// The product's command: offers repeat the terms that are on the table.
    pub fn command(self, negotiation: &Negotiation) -> Command {
        use negotiation::Act;
        let act = match self {
            Self::Offer => Act::Offer(negotiation.offer.clone()),
            Self::CounterOffer => Act::CounterOffer(negotiation.offer.clone()),
            Self::Accept => Act::Accept,
            Self::Agree => return Command::Agree { id: negotiation.id.clone(), seen: None },
            Self::Verify => Act::Verify,
            Self::Finalize => Act::Finalize,
            Self::Terminate => Act::Terminate("as the suite expects".to_owned()),
        };
        Command::Act { id: negotiation.id.clone(), act: Box::new(act) }
    }
}

/// A step of a transfer.
#[derive(Debug, Clone, Copy)]
pub enum Move {
    Start,
    Suspend,
    Resume,
    Complete,
    Terminate,
}

impl Move {
    /// The product's act.
    pub fn act(self) -> transfer::Act {
        use transfer::Act;
        match self {
            Self::Start => Act::Start,
            Self::Suspend => Act::Suspend(None),
            Self::Resume => Act::Resume,
            Self::Complete => Act::Complete,
            Self::Terminate => Act::Terminate(None),
        }
    }
}

/// What is done in a negotiation about the dataset, one after another: on reaching the state, the step.
pub fn negotiation(dataset: &str) -> &'static [(N, Deal)] {
    use Deal::{Accept, Agree, CounterOffer, Finalize, Offer, Terminate, Verify};
    match dataset {
        "ACN0101" | "ACN0204" | "ACN0302" | "ACN0303" | "ACN0304" => &[(N::Requested, Offer)],
        "ACN0102" => &[(N::Requested, Offer), (N::Requested, Terminate)],
        "ACN0103" => &[(N::Requested, Offer), (N::Accepted, Agree), (N::Verified, Finalize)],
        "ACN0104" | "ACN0301" => &[(N::Requested, Agree), (N::Verified, Finalize)],
        "ACN0201" => &[(N::Requested, Terminate)],
        "ACN0203" => &[(N::Requested, Agree)],
        "ACN0205" => &[(N::Requested, Offer), (N::Offered, Terminate)],
        "ACN0206" => &[(N::Requested, Offer), (N::Accepted, Terminate)],
        "ACN0207" => &[(N::Requested, Agree), (N::Verified, Terminate)],
        "ACNC0101" => &[(N::Offered, Accept), (N::Agreed, Verify)],
        "ACNC0102" => &[(N::Offered, CounterOffer)],
        "ACNC0103" => &[(N::Offered, Terminate)],
        "ACNC0104" | "ACNC0206" => &[(N::Agreed, Verify)],
        "ACNC0202" => &[(N::Requested, Terminate)],
        "ACNC0203" => &[(N::Agreed, Terminate)],
        "ACNC0205" | "ACNC0304" | "ACNC0305" | "ACNC0306" => &[(N::Offered, Accept)],
        _ => &[],
    }
}

/// The same of a transfer under the agreement.
pub fn transfer(agreement: &str) -> &'static [(T, Move)] {
    use Move::{Complete, Resume, Start, Suspend, Terminate};
    match agreement {
        "ATP0101" => &[(T::Requested, Start), (T::Started, Terminate)],
        "ATP0102" => &[(T::Requested, Start), (T::Started, Complete)],
        "ATP0103" => &[(T::Requested, Start), (T::Started, Suspend), (T::Suspended, Terminate)],
        "ATP0104" => &[(T::Requested, Start), (T::Started, Suspend), (T::Suspended, Resume), (T::Started, Complete)],
        "ATP0105" | "ATPC0205" => &[(T::Requested, Terminate)],
        "ATP0201" | "ATP0202" | "ATP0203" | "ATP0204" | "ATP0303" | "ATP0304" | "ATP0305" | "ATP0306" => &[(T::Requested, Start)],
        "ATPC0201" => &[(T::Started, Terminate)],
        "ATPC0202" => &[(T::Started, Complete)],
        "ATPC0203" => &[(T::Started, Suspend), (T::Suspended, Terminate)],
        "ATPC0204" => &[(T::Started, Suspend), (T::Suspended, Resume), (T::Started, Complete)],
        _ => &[],
    }
}
