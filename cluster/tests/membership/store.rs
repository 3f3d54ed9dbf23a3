//! The simulated store: linearizable rows, and one conditional write for each claim and each turn. Whether and when a request comes to be executed, and
//! whether its answer is ever heard, is the world's business.

use cellspace_cluster::membership::Moment;
use cellspace_storage::{Epoch, Head, Lease, Swap, View};

pub type CommandId = u32;

/// One agent's partition. There is one in each slot.
#[derive(Clone, Default)]
pub struct Partition {
    pub head: Head,
    /// The state: all commands executed, in order.
    pub row: Vec<CommandId>,
    /// Commits whose effect is not known to be delivered.
    pub outbox: Vec<u64>,
    /// What each commit executed.
    pub audit: Vec<Vec<CommandId>>,
    /// Highest level that was written.
    pub level: u16,
}

#[derive(Clone)]
pub struct Turn {
    pub slot: u16,
    pub epoch: Epoch,
    pub seq: u64,
    pub row: Vec<CommandId>,
    pub outbox: Vec<u64>,
    pub commands: Vec<CommandId>,
    pub level: u16,
}

#[derive(Clone)]
pub enum Request {
    PutLease(Option<Lease>, Lease),
    ChangeView(View),
    View,
    Leases,
    Partition(u16),
    /// The head as it was read, and the new epoch.
    Claim(u16, Head, Epoch),
    Commit(Turn),
    Witness(u16, u64),
}

#[derive(Clone)]
pub enum Answer {
    Swap(Swap),
    View(Option<View>),
    Leases(Vec<Lease>),
    Partition(Partition),
    Witness(Option<Vec<CommandId>>),
    /// No answer came in time.
    Silence,
}

#[derive(Default)]
pub struct Store {
    pub view: Option<View>,
    pub leases: Vec<Lease>,
    pub partitions: Vec<Partition>,
    /// Claims are executed whatever is stored.
    pub unconditional: bool,
}

impl Store {
    pub fn new(slots: u16) -> Self {
        Self { partitions: vec![Partition::default(); usize::from(slots)], ..Self::default() }
    }

    /// Executes a request; an invariant that it breaks is the error.
    pub fn execute(&mut self, request: Request) -> Result<Answer, String> {
        Ok(match request {
            Request::PutLease(before, next) => {
                let state = |lease: &Lease| (lease.incarnation, lease.counter, lease.revoked);
                let place = self.leases.iter().position(|lease| lease.node == next.node);
                let same = place.map(|place| state(&self.leases[place])) == before.as_ref().map(state);
                match place {
                    Some(place) if same => self.leases[place] = next,
                    None if same => self.leases.push(next),
                    _ => {}
                }
                swap(same)
            }
            Request::ChangeView(next) => {
                let follows = self.view.as_ref().map_or(0, |view| view.version) + 1 == next.version;
                if follows {
                    self.view = Some(next);
                }
                swap(follows)
            }
            Request::View => Answer::View(self.view.clone()),
            Request::Leases => Answer::Leases(self.leases.clone()),
            Request::Partition(slot) => Answer::Partition(self.partitions[usize::from(slot)].clone()),
            Request::Claim(slot, head, epoch) => {
                let partition = &mut self.partitions[usize::from(slot)];
                let same = partition.head == head || self.unconditional;
                if same {
                    if epoch <= partition.head.epoch {
                        return Err(format!("FENCE: slot {slot} claimed with {epoch:?} over {:?}", partition.head.epoch));
                    }
                    partition.head.epoch = epoch;
                }
                swap(same)
            }
            Request::Commit(turn) => {
                let partition = &mut self.partitions[usize::from(turn.slot)];
                let fits = partition.head.epoch == turn.epoch && partition.head.seq.0 + 1 == turn.seq;
                if fits {
                    if !turn.row.starts_with(&partition.row) {
                        return Err(format!("ACK: slot {} loses commands in commit {}", turn.slot, turn.seq));
                    }
                    partition.head.seq.0 = turn.seq;
                    partition.row = turn.row;
                    partition.outbox = turn.outbox;
                    partition.audit.push(turn.commands);
                    partition.level = partition.level.max(turn.level);
                }
                swap(fits)
            }
            Request::Witness(slot, seq) => {
                let place = usize::try_from(seq).unwrap() - 1;
                Answer::Witness(self.partitions[usize::from(slot)].audit.get(place).cloned())
            }
        })
    }
}

fn swap(applied: bool) -> Answer {
    Answer::Swap(if applied { Swap::Applied } else { Swap::Refused })
}

/// A node's clock: it runs a little fast or slow, and began at some time of its own.
#[derive(Clone, Copy)]
pub struct Drift {
    pub offset: u64,
    /// In thousandths.
    pub rate: u64,
}

impl Drift {
    pub fn read(self, now: u64) -> Moment {
        Moment(std::time::Duration::from_micros(self.offset + now * self.rate / 1_000))
    }

    /// Time of the world that passes while the clock passes so many milliseconds.
    pub const fn wait(self, millis: u64) -> u64 {
        millis * 1_000_000 / self.rate
    }
}
