//! One reader: it stands in a topic, and reads on from there.

use super::{
    clients::{Aside, Clients, Quiet, create, unavailable},
    topics::{self, PARTITION},
};
use crate::{EventRecord, Offset, StoreError, Topic};
use futures::FutureExt;
use rdkafka::{
    TopicPartitionList,
    consumer::{Consumer, StreamConsumer},
    error::KafkaError as Refused,
    message::{BorrowedMessage, Message},
    types::RDKafkaErrorCode,
};
use std::collections::VecDeque;

/// Kilobytes that the library reads ahead.
const AHEAD: &str = "4096";
/// Events that it reads ahead.
const EVENTS_AHEAD: &str = "1000";
/// How long a broker keeps a question for events open while there are none.
const OPEN: &str = "5000";

/// Why a reader cannot go on.
#[derive(Debug)]
pub(super) enum Stop {
    /// Where it stands there is nothing: before what is kept, or past the end.
    NotThere,
    Failed(StoreError),
}

/// Reads a topic from where it stands.
pub(super) struct Reader {
    consumer: Aside<StreamConsumer<Quiet>>,
    /// Kafka's number of the first event that was not given out.
    next: u64,
    /// Read and not yet given out.
    read: VecDeque<EventRecord>,
}

impl Reader {
    /// A new one at Kafka's number `next`.
    pub(super) fn new(clients: &Clients, topic: &Topic, next: u64) -> Result<Self, StoreError> {
        let mut config = clients.config();
        config
            // Never joined, and without positions: the library wants a name.
            .set("group.id", format!("{}cellspace.readers", clients.options().prefix))
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // What is not there is told, and never guessed.
            .set("auto.offset.reset", "error")
            .set("fetch.wait.max.ms", OPEN)
            .set("queued.min.messages", EVENTS_AHEAD)
            .set("queued.max.messages.kbytes", AHEAD);
        let consumer: StreamConsumer<Quiet> = create(&config, Quiet).map_err(|e| StoreError::Unavailable(e.to_string()))?;
        let mut place = TopicPartitionList::new();
        let number = i64::try_from(next).map_err(|_| StoreError::Corrupt(format!("{next} is no position in {topic}")))?;
        let placed = place.add_partition_offset(&topics::name(clients, topic), PARTITION, rdkafka::Offset::Offset(number));
        placed.and_then(|()| consumer.assign(&place)).map_err(|e| unavailable(&e))?;
        Ok(Self { consumer: Aside::new(consumer), next, read: VecDeque::new() })
    }

    /// Kafka's number of the event that it gives out next.
    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    /// Whether it has an event at hand.
    pub(super) fn has_some(&self) -> bool {
        !self.read.is_empty()
    }

    /// Waits for an event, for as long as that takes. Dropping the future loses nothing.
    pub(super) async fn some(&mut self) -> Result<(), Stop> {
        while self.read.is_empty() {
            self.look().await?;
        }
        Ok(())
    }

    /// Reads until it has `limit` events, or all before Kafka's number `end`.
    pub(super) async fn fill(&mut self, end: u64, limit: usize) -> Result<(), Stop> {
        while self.read.len() < limit && self.ahead() < end {
            self.look().await?;
        }
        Ok(())
    }

    /// Gives out at most `limit` events that are at hand, with those that the library holds.
    pub(super) fn give(&mut self, limit: usize) -> Vec<EventRecord> {
        while self.read.len() < limit && self.look().now_or_never().is_some_and(|outcome| outcome.is_ok()) {}
        let given: Vec<_> = self.read.drain(..limit.min(self.read.len())).collect();
        self.next = given.last().map_or(self.next, |last| last.offset.0);
        given
    }

    /// Kafka's number of the event to be read next.
    fn ahead(&self) -> u64 {
        self.read.back().map_or(self.next, |last| last.offset.0)
    }

    /// Takes in one event.
    async fn look(&mut self) -> Result<(), Stop> {
        let ahead = self.ahead();
        let Some(consumer) = self.consumer.as_ref() else {
            return Err(Stop::Failed(StoreError::Unavailable("the reader has ended".to_owned())));
        };
        loop {
            match consumer.recv().await {
                Ok(message) => {
                    let record = record(&message);
                    if record.offset.0 > ahead {
                        self.read.push_back(record);
                        return Ok(());
                    }
                }
                Err(Refused::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange)) => {
                    return Err(Stop::NotThere);
                }
                Err(Refused::MessageConsumption(code)) if passes(code) => {}
                Err(error) => return Err(Stop::Failed(unavailable(&error))),
            }
        }
    }
}

/// Whether the library goes on by itself as soon as it can.
fn passes(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::AllBrokersDown
            | Code::BrokerTransportFailure
            | Code::Resolve
            | Code::OperationTimedOut
            | Code::RequestTimedOut
            | Code::NetworkException
            | Code::BrokerNotAvailable
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::CoordinatorLoadInProgress
            | Code::CoordinatorNotAvailable
            | Code::NotCoordinator
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
    )
}

fn record(message: &BorrowedMessage<'_>) -> EventRecord {
    let key = message.key().map_or_else(String::new, |key| String::from_utf8_lossy(key).into_owned());
    let payload = message.payload().unwrap_or_default().to_vec().into();
    // The first event has 1, Kafka's has 0.
    EventRecord { offset: Offset(u64::try_from(message.offset()).unwrap_or(0) + 1), key, payload }
}
