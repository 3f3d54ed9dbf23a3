//! This process as a member of a consumer group: whether the group's partition is its own, and the group's position.

use super::{
    clients::{Aside, Clients, create, within},
    topics::{self, PARTITION},
};
use crate::{Group, StoreError, Topic};
use rdkafka::{
    ClientContext, Offset, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance, StreamConsumer},
    error::KafkaError as Refused,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Mutex, watch},
    task::JoinHandle,
};

/// How long the group may take to give the partition to somebody, after it counts a silent member out.
const REBALANCE: Duration = Duration::from_secs(20);

/// What the group last said.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    /// The partition is another's, or nobody's.
    Outside,
    /// It is ours, for the n-th time.
    Ours(u64),
    /// We are out for good.
    Out(String),
}

/// Hears what the group says.
struct Seat {
    standing: watch::Sender<Standing>,
    turns: AtomicU64,
}

impl ClientContext for Seat {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        super::clients::Quiet.log(level, facility, message);
    }

    fn error(&self, error: Refused, reason: &str) {
        super::clients::Quiet.error(error, reason);
    }
}

impl ConsumerContext for Seat {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(taken) = rebalance
            && taken.count() > 0
        {
            self.standing.send_replace(Standing::Outside);
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(given) = rebalance
            && given.count() > 0
        {
            // Events come from readers.
            if let Err(error) = consumer.pause(given) {
                tracing::debug!(category = "app", %error, "a member of a group reads for nobody");
            }
            self.standing.send_replace(Standing::Ours(self.turns.fetch_add(1, Ordering::Relaxed) + 1));
        }
    }
}

/// The group's position, in a turn of ours.
#[derive(Debug, Clone, Copy)]
struct Place {
    turn: u64,
    position: u64,
}

/// A member of one group, on one topic.
pub(super) struct Member {
    consumer: Arc<Aside<StreamConsumer<Seat>>>,
    topic: Topic,
    standing: watch::Receiver<Standing>,
    place: Mutex<Option<Place>>,
    hears: JoinHandle<()>,
}

impl Member {
    pub(super) fn join(clients: &Clients, topic: &Topic, group: &Group) -> Result<Self, StoreError> {
        let options = clients.options();
        let name = topics::name(clients, topic);
        let milliseconds = |time: Duration| time.as_millis().to_string();
        let mut config = clients.config();
        config
            .set("group.id", format!("{}{}", options.prefix, group.0))
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "latest")
            // Who joins takes nothing from who works.
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", milliseconds(options.silence))
            .set("heartbeat.interval.ms", milliseconds(options.silence / 4))
            .set("queued.max.messages.kbytes", "64");
        if let Some(member) = &options.member {
            config.set("group.instance.id", format!("{member}.{}", topic.0));
        }
        let (sender, standing) = watch::channel(Standing::Outside);
        let seat = Seat { standing: sender, turns: AtomicU64::new(0) };
        let unusable = |reason: String| StoreError::Unavailable(reason);
        let consumer: StreamConsumer<Seat> = create(&config, seat).map_err(|e| unusable(e.to_string()))?;
        consumer.subscribe(&[&name]).map_err(|e| unusable(e.to_string()))?;
        let consumer = Arc::new(Aside::new(consumer));
        let hears = tokio::spawn(hear(consumer.clone()));
        Ok(Self { consumer, topic: topic.clone(), standing, place: Mutex::default(), hears })
    }

    /// Kafka's number of the first event that the group has not handled, when the partition is ours; waits for it a while.
    pub(super) async fn position(&self, clients: &Clients) -> Result<u64, StoreError> {
        let turn = self.turn(clients).await?;
        let mut place = self.place.lock().await;
        if let Some(known) = place.filter(|place| place.turn == turn) {
            return Ok(known.position);
        }
        let stored = self.stored(clients).await?;
        // Asked now that nobody else moves on: what was the end before is in the midst by now.
        let (first, end) = topics::ends(clients, &self.topic).await?;
        let position = onward(stored, first, end);
        if let Some(past) = stored.filter(|stored| *stored > end) {
            tracing::error!(
                category = "app", action = "events.cut", topic = %self.topic, position = past, end, from = position,
                "a topic ends before what was read of it: it was cut short, or made anew; all that it has is read again"
            );
        }
        if stored != Some(position) {
            self.store(clients, position).await?;
        }
        *place = Some(Place { turn, position });
        Ok(position)
    }

    /// Moves the group's position up to Kafka's number `to`, and never back.
    pub(super) async fn advance(&self, clients: &Clients, to: u64) -> Result<(), StoreError> {
        let mut place = self.place.lock().await;
        let ours = place.as_mut().filter(|place| *self.standing.borrow() == Standing::Ours(place.turn));
        let Some(ours) = ours else {
            return Err(StoreError::Unavailable("the group's partition is not with this process any more".to_owned()));
        };
        // Past the end lie events that nobody has seen yet.
        let (_, end) = topics::ends(clients, &self.topic).await?;
        let to = to.min(end);
        if to > ours.position {
            self.store(clients, to).await?;
            ours.position = to;
        }
        Ok(())
    }

    /// Ends when the partition is not ours any more, in the turn whose position was asked for last.
    pub(super) async fn lost(&self) {
        let Some(Place { turn, .. }) = *self.place.lock().await else { return };
        let mut standing = self.standing.clone();
        // No sender any more: the member has ended.
        let _ = standing.wait_for(|standing| *standing != Standing::Ours(turn)).await;
    }

    /// Where the group stands there is nothing: its position is to be asked for anew.
    pub(super) fn doubt(&self) {
        let Some(client) = self.consumer.as_ref().as_ref() else { return };
        let seat = client.client().context();
        seat.standing.send_if_modified(|standing| {
            let Standing::Ours(turn) = standing else { return false };
            *turn = seat.turns.fetch_add(1, Ordering::Relaxed) + 1;
            true
        });
    }

    async fn turn(&self, clients: &Clients) -> Result<u64, StoreError> {
        let mut standing = self.standing.clone();
        let limit = clients.options().silence + REBALANCE;
        let given = tokio::time::timeout(limit, standing.wait_for(|standing| *standing != Standing::Outside)).await;
        match given.map(|standing| standing.map(|standing| standing.clone())) {
            Ok(Ok(Standing::Ours(turn))) => Ok(turn),
            Ok(Ok(Standing::Out(reason))) => Err(StoreError::Unavailable(reason)),
            Ok(Ok(Standing::Outside) | Err(_)) => Err(StoreError::Unavailable("the group has ended".to_owned())),
            Err(_) => Err(StoreError::Unavailable("another process reads for the group, or Kafka is out of reach".to_owned())),
        }
    }

    async fn stored(&self, clients: &Clients) -> Result<Option<u64>, StoreError> {
        let (consumer, topic, limit) = (self.consumer.clone(), topics::name(clients, &self.topic), clients.options().answer);
        clients
            .off_the_executor(move || {
                let Some(consumer) = consumer.as_ref().as_ref() else { return Ok(None) };
                let mut list = TopicPartitionList::new();
                list.add_partition(&topic, PARTITION);
                let found = consumer.committed_offsets(list, limit)?;
                let Some(place) = found.find_partition(&topic, PARTITION) else { return Ok(None) };
                place.error()?;
                Ok(match place.offset() {
                    Offset::Offset(position) => u64::try_from(position).ok(),
                    _ => None,
                })
            })
            .await
    }

    /// Kafka refuses it when the partition has gone to another member.
    async fn store(&self, clients: &Clients, position: u64) -> Result<(), StoreError> {
        let (consumer, topic) = (self.consumer.clone(), topics::name(clients, &self.topic));
        let stored = clients.off_the_executor(move || {
            let Some(consumer) = consumer.as_ref().as_ref() else { return Ok(()) };
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(&topic, PARTITION, Offset::Offset(i64::try_from(position).unwrap_or(i64::MAX)))?;
            consumer.commit(&list, CommitMode::Sync)
        });
        within(clients.options().answer + clients.options().silence, stored).await
    }
}

/// Where a group goes on whose stored position is this, in a topic with these ends. A position past the end says nothing of the events that are there: they
/// are all read, since repeats do no harm, and what is passed over is lost.
fn onward(stored: Option<u64>, first: u64, end: u64) -> u64 {
    match stored {
        None => 0,
        Some(position) if position <= end => position,
        Some(_) => first,
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.hears.abort();
    }
}

/// Lets the group speak, for as long as there is one.
async fn hear(consumer: Arc<Aside<StreamConsumer<Seat>>>) {
    let Some(client) = consumer.as_ref().as_ref() else { return };
    loop {
        match client.recv().await {
            Err(Refused::MessageConsumptionFatal(code)) => {
                tracing::error!(category = "app", action = "group.left", %code, "another process with the name of this one has taken its place in a group");
                let reason = format!("another process with the name of this one has taken its place in the group: {code}");
                client.client().context().standing.send_replace(Standing::Out(reason));
                return;
            }
            Err(error) => tracing::debug!(category = "app", %error, "a consumer group"),
            // Read before the pause took effect.
            Ok(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_past_the_end_starts_from_what_is_there() {
        for (stored, expected) in [(None, 0), (Some(0), 0), (Some(5), 5), (Some(9), 9), (Some(10), 3), (Some(u64::MAX), 3)] {
            assert_eq!(onward(stored, 3, 9), expected, "{stored:?}");
        }
    }
}
