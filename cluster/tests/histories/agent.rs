//! The agent of these histories: jobs that go from step to step as a table allows, with effects and deadlines. Each row says whose it is.

use super::{node::Access, tokens::Token};
use cellspace_cluster::*;
use cellspace_schemas::Timestamp;
use cellspace_storage::{AgentKind, RowKey};
use futures::{FutureExt, future::BoxFuture};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Table of jobs.
pub const JOBS: &str = "job";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    Noted,
    Requested,
    Waiting,
    Rung,
    Cancelled,
    Confirmed,
    Refused,
}

impl Step {
    /// The table of transitions (invariant STATE).
    pub const fn may_follow(self, before: Option<Self>) -> bool {
        matches!(
            (before, self),
            (None, Self::Noted | Self::Requested | Self::Waiting)
                | (Some(Self::Waiting), Self::Rung | Self::Cancelled)
                | (Some(Self::Requested | Self::Rung), Self::Confirmed | Self::Refused)
        )
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    pub id: u32,
    pub owner: String,
    pub path: Vec<Step>,
    pub due: Option<Timestamp>,
    /// Its alarm rang before it was due, by the clock of the node that decided it.
    pub early: bool,
    /// The token that was shown for it.
    pub token: Option<Token>,
}

#[derive(Default, Clone)]
pub struct Desk {
    pub jobs: BTreeMap<u32, Job>,
    /// Steps of all jobs: how new the state is.
    pub steps: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Order {
    Note {
        id: u32,
    },
    /// As a counterparty that shows a token.
    Show {
        id: u32,
        token: Token,
    },
    Send {
        id: u32,
        lane: String,
    },
    Alarm {
        id: u32,
        at: Timestamp,
    },
    Cancel {
        of: u32,
    },
}

/// An order as it is prepared.
pub struct Prepared {
    order: Order,
    owner: String,
    lawless: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Parcel {
    pub id: u32,
    pub owner: String,
    pub lane: String,
}

/// How far the agent is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steps {
    pub owner: String,
    pub steps: u64,
}

#[derive(Clone, Debug, thiserror::Error, Serialize, Deserialize)]
#[error("the job is not there to be cancelled")]
pub struct TooLate;

/// How far is it? By this client.
#[derive(Debug, Serialize, Deserialize)]
pub struct Look(pub u32);

impl Query<Clerk> for Look {
    const NAME: &'static str = "look";
    type Answer = Steps;

    fn answer(&self, desk: &Desk) -> Steps {
        Steps { owner: desk.jobs.values().next().map(|job| job.owner.clone()).unwrap_or_default(), steps: desk.steps }
    }
}

/// The agent on one life of a node.
pub struct Clerk(pub Arc<Access>);

fn job(desk: &Desk, id: u32, owner: &str) -> Job {
    desk.jobs.get(&id).cloned().unwrap_or_else(|| Job {
        id,
        owner: owner.to_owned(),
        path: Vec::new(),
        due: None,
        early: false,
        token: None,
    })
}

fn stepped(desk: &Desk, mut job: Job, step: Step, action: &'static str) -> Decision<Clerk> {
    job.path.push(step);
    let reply = Steps { owner: job.owner.clone(), steps: desk.steps + 1 };
    Decision::action(action).event(job).replying(reply)
}

impl Agent for Clerk {
    const KIND: AgentKind = AgentKind("clerk");
    type State = Desk;
    type Command = Order;
    type Prepared = Prepared;
    type Event = Job;
    type Effect = Parcel;
    type Outcome = ();
    type Reply = Steps;
    type Refusal = TooLate;

    fn creates(order: &Order) -> bool {
        !matches!(order, Order::Cancel { .. })
    }

    fn reach(none: Reach<Self>) -> Reach<Self> {
        none.commands().query::<Look>()
    }

    fn prepare<'a>(
        &'a self,
        address: &'a Address,
        _: Arc<Desk>,
        order: Order,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Prepared, PrepareError<TooLate>>> {
        async move {
            let (owner, order, lawless) = self.0.prepare(address.owner.to_string(), order).await;
            match &order {
                Order::Show { token, .. } if !self.0.admits(token, call, &address.owner) => Err(PrepareError::Refused(TooLate)),
                _ => Ok(Prepared { order, owner, lawless }),
            }
        }
        .boxed()
    }

    fn decide(desk: &Desk, input: &Input<Self>, now: Timestamp) -> Result<Decision<Self>, Rejection<TooLate>> {
        Ok(match input {
            Input::Command(Prepared { order, owner, lawless }) => match order {
                // An order that came twice takes a step that the table does not have.
                Order::Note { id } => stepped(desk, job(desk, *id, owner), Step::Noted, "job.noted"),
                Order::Show { id, token } => {
                    stepped(desk, Job { token: Some(token.clone()), ..job(desk, *id, owner) }, Step::Noted, "job.shown")
                }
                Order::Send { id, lane } => stepped(desk, job(desk, *id, owner), Step::Requested, "job.requested")
                    .effect(lane.clone(), Parcel { id: *id, owner: owner.clone(), lane: lane.clone() }),
                Order::Alarm { id, at } => stepped(desk, Job { due: Some(*at), ..job(desk, *id, owner) }, Step::Waiting, "job.waiting"),
                Order::Cancel { of } => {
                    let found = desk.jobs.get(of).filter(|job| *lawless || job.path.last() == Some(&Step::Waiting)).ok_or(TooLate)?;
                    stepped(desk, Job { due: None, ..found.clone() }, Step::Cancelled, "job.cancelled")
                }
            },
            Input::Delivered(parcel, ()) => stepped(desk, job(desk, parcel.id, &parcel.owner), Step::Confirmed, "job.confirmed"),
            Input::Undeliverable(parcel, _) => stepped(desk, job(desk, parcel.id, &parcel.owner), Step::Refused, "job.refused"),
            Input::Due(key) => {
                let found = desk.jobs.get(&key.parse().unwrap()).cloned().ok_or(TooLate)?;
                let bell = Parcel { id: found.id, owner: found.owner.clone(), lane: "bells".into() };
                let early = found.due.is_some_and(|due| now < due);
                stepped(desk, Job { due: None, early, ..found }, Step::Rung, "job.rung").effect("bells", bell)
            }
        })
    }

    fn apply(desk: &mut Desk, job: &Job) {
        let before = desk.jobs.insert(job.id, job.clone()).map_or(0, |job| job.path.len());
        desk.steps += (job.path.len() - before) as u64;
    }

    fn row(job: &Job) -> RowOf {
        RowOf::Put(RowKey::new(JOBS, &format!("{:08}", job.id)))
    }

    fn deadline(job: &Job) -> Option<(String, Option<Timestamp>)> {
        job.path.contains(&Step::Waiting).then(|| (job.id.to_string(), job.due))
    }

    fn destination(parcel: &Parcel, _: &Desk) -> Option<String> {
        Some(format!("host-{}", parcel.id % 3))
    }

    fn deliver<'a>(&'a self, delivery: Delivery<'a, Self>) -> BoxFuture<'a, Result<(), DeliveryError>> {
        self.0.deliver(Parcel::clone(&delivery.effect)).boxed()
    }

    fn retry_policy(_: &Parcel) -> RetryPolicy {
        RetryPolicy { attempts: 5, longest_pause: Duration::from_secs(1), ..RetryPolicy::default() }
    }
}
