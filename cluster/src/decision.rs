//! A decision is data: events, effects, facts and a reply.

use crate::Agent;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;

/// Something to do after the commit, in its lane.
#[derive(Debug)]
pub struct Outgoing<E> {
    /// One row of a lane is delivered at a time, in order; lanes run in parallel. For example `negotiation/<id>`.
    pub lane: String,
    /// What to do.
    pub effect: E,
}

/// An event for the outside, put on a topic by the same commit.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    /// Topic of the event log.
    pub topic: Cow<'static, str>,
    /// Ordering key.
    pub key: String,
    /// `CloudEvents` type, for example `org.cellspace.transfer.started`.
    pub kind: &'static str,
    /// Its data.
    pub data: Value,
}

/// What happened to something of the agent's, told to those who follow it: kept in the audit row of the commit, in the order of the decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happening {
    /// What, for example `transfer.process.started`.
    pub kind: Cow<'static, str>,
    /// To what: the id that the agent knows it by.
    pub subject: String,
}

/// What a turn does about one input.
#[derive(Debug)]
pub struct Decision<A: Agent> {
    /// Changes of state, in order.
    pub events: Vec<A::Event>,
    /// Outbox rows.
    pub effects: Vec<Outgoing<A::Effect>>,
    /// Events for others.
    pub facts: Vec<Fact>,
    /// What those who follow the agent are told; something that changes goes with it.
    pub happened: Vec<Happening>,
    /// Answer to the command; ignored for other inputs.
    pub reply: A::Reply,
    /// What happened, for the audit row, for example `negotiation.agreed`. Empty when nothing changes.
    pub action: &'static str,
}

/// With whom and under what something came about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The other party.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counterparty: Option<String>,
    /// The agreement between the two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contract: Option<String>,
}

impl<A: Agent> Decision<A> {
    /// Answers and changes nothing.
    #[must_use]
    pub fn reply(reply: A::Reply) -> Self {
        Self { events: Vec::new(), effects: Vec::new(), facts: Vec::new(), happened: Vec::new(), reply, action: "" }
    }

    /// Changes nothing and answers with the default reply.
    #[must_use]
    pub fn nothing() -> Self {
        Self::reply(A::Reply::default())
    }

    /// A change named `action`, answered with the default reply.
    #[must_use]
    pub fn action(action: &'static str) -> Self {
        Self { action, ..Self::nothing() }
    }

    /// Sets the reply.
    #[must_use]
    pub fn replying(mut self, reply: A::Reply) -> Self {
        self.reply = reply;
        self
    }

    /// Adds an event.
    #[must_use]
    pub fn event(mut self, event: A::Event) -> Self {
        self.events.push(event);
        self
    }

    /// Adds an effect in a lane.
    #[must_use]
    pub fn effect(mut self, lane: impl Into<String>, effect: A::Effect) -> Self {
        self.effects.push(Outgoing { lane: lane.into(), effect });
        self
    }

    /// Adds a fact.
    #[must_use]
    pub fn fact(mut self, fact: Fact) -> Self {
        self.facts.push(fact);
        self
    }

    /// Adds what happened.
    #[must_use]
    pub fn happens(mut self, kind: &'static str, subject: impl Into<String>) -> Self {
        self.happened.push(Happening { kind: kind.into(), subject: subject.into() });
        self
    }

    /// Adds all that another decision changes and tells; action and reply stay.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.events.extend(other.events);
        self.effects.extend(other.effects);
        self.facts.extend(other.facts);
        self.happened.extend(other.happened);
        self
    }

    /// Whether a commit is needed.
    #[must_use]
    pub fn changes(&self) -> bool {
        !(self.events.is_empty() && self.effects.is_empty() && self.facts.is_empty())
    }
}
