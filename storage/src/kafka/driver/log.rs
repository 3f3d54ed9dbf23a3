//! The log as its users hold it.

use super::{
    KafkaError, KafkaOptions,
    clients::Clients,
    letters,
    member::Member,
    publisher::{Publisher, Record},
    readers::{Readers, Waited},
    topics::{self, Topics},
};
use crate::{EventLog, EventRecord, Group, Offset, Publication, StoreError, Topic};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::OnceCell;

/// Topic whose first event names the installation that the others belong to.
pub(super) const INSTALLATION: &str = "cellspace.installation";
/// Media type of a CloudEvent (structured mode, JSON).
const CLOUD_EVENT: &str = "application/cloudevents+json";

/// Topics of which health says why they are of no use; of others it says how many they are.
const TOLD: usize = 8;

/// How long a failure counts. Who still needs the topic has tried again by then.
const COUNTS: Duration = Duration::from_secs(180);

/// What Kafka was needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Use {
    Read,
    Publish,
}

/// The event log of an installation, in Kafka. A handle: clones share the clients.
#[derive(Clone)]
pub struct KafkaLog(Arc<Inner>);

struct Inner {
    clients: Clients,
    topics: Topics,
    publisher: Publisher,
    readers: Readers,
    members: Mutex<HashMap<(Topic, Group), Arc<Member>>>,
    /// Whose the log must be.
    installation: Option<String>,
    known_as_own: OnceCell<()>,
    /// Why topics were last of no use, those that were, and when that was.
    failing: Mutex<BTreeMap<(Topic, Use), (Instant, String)>>,
}

impl KafkaLog {
    /// Sets the log up; asks Kafka nothing yet. With an `installation`, nothing is read or published under a prefix that is another's.
    ///
    /// # Errors
    /// [`KafkaError`] when the options make no sense.
    pub fn new(options: KafkaOptions, installation: Option<String>) -> Result<Self, KafkaError> {
        Ok(Self(Arc::new(Inner {
            clients: Clients::new(options)?,
            topics: Topics::default(),
            publisher: Publisher::default(),
            readers: Readers::default(),
            members: Mutex::default(),
            known_as_own: OnceCell::new_with(installation.is_none().then_some(())),
            installation,
            failing: Mutex::default(),
        })))
    }

    /// Takes the prefix for this installation, unless it is another's already.
    ///
    /// # Errors
    /// [`KafkaError::OtherInstallation`] when it is; a [`StoreError`] in it when Kafka does not answer.
    pub async fn begin(&self) -> Result<(), KafkaError> {
        let (inner, mark) = (&self.0, Topic(INSTALLATION.to_owned()));
        inner.topics.ensure(&inner.clients, &mark).await?;
        if let Some(own) = &inner.installation
            && inner.readers.fetch(&inner.clients, &mark, 0, 1).await?.is_empty()
        {
            let payload = own.clone().into_bytes().into();
            let record = Record { topic: topics::name(&inner.clients, &mark), key: String::new(), payload, media_type: None };
            inner.publisher.write(&inner.clients, &[record]).await?;
        }
        self.look().await
    }

    /// Looks whether the prefix is this installation's.
    ///
    /// # Errors
    /// [`KafkaError::OtherInstallation`] when it is not; a [`StoreError`] in it when Kafka does not answer.
    pub async fn look(&self) -> Result<(), KafkaError> {
        let (inner, mark) = (&self.0, Topic(INSTALLATION.to_owned()));
        let other = |found| KafkaError::OtherInstallation { prefix: inner.clients.options().prefix.clone(), found };
        inner
            .known_as_own
            .get_or_try_init(async || {
                let first = match inner.topics.has(&inner.clients, &mark).await? {
                    true => inner.readers.fetch(&inner.clients, &mark, 0, 1).await?.pop(),
                    false => None,
                };
                match first {
                    None => Err(other("are not there")),
                    // Whoever was first has it.
                    Some(first) if inner.installation.as_deref().is_some_and(|own| own.as_bytes() != &first.payload[..]) => {
                        Err(other("belong to another installation"))
                    }
                    Some(_) => Ok(()),
                }
            })
            .await
            .copied()
    }

    /// Makes these topics, those of their dead letters, and the one that says whose the prefix is, as far as they are missing; which those were.
    ///
    /// # Errors
    /// [`StoreError`] when Kafka does not let it.
    pub async fn make_topics(&self, wanted: &[Topic]) -> Result<Vec<Topic>, StoreError> {
        let mut made = Vec::new();
        let wanted = wanted.iter().flat_map(|topic| [topic.clone(), topic.dead()]);
        for topic in std::iter::once(Topic(INSTALLATION.to_owned())).chain(wanted) {
            if self.0.topics.ensure(&self.0.clients, &topic).await? {
                made.push(topic);
            }
        }
        Ok(made)
    }

    /// Whether each topic was of use when it was last needed.
    ///
    /// # Errors
    /// Says of which it was not, and why.
    pub fn health(&self) -> Result<(), StoreError> {
        let mut failing = self.0.failing.lock();
        failing.retain(|_, (at, _)| at.elapsed() < COUNTS);
        said(&failing)
    }

    /// Leaves all groups, and ends all clients. Events that wait are where they wait.
    pub fn close(&self) {
        self.0.members.lock().clear();
        self.0.readers.end();
        self.0.publisher.end();
    }

    pub(super) fn clients(&self) -> &Clients {
        &self.0.clients
    }

    /// The member of the group that this process is.
    fn member(&self, topic: &Topic, group: &Group) -> Result<Arc<Member>, StoreError> {
        let mut members = self.0.members.lock();
        let key = (topic.clone(), group.clone());
        if let Some(member) = members.get(&key) {
            return Ok(member.clone());
        }
        let member = Arc::new(Member::join(&self.0.clients, topic, group)?);
        members.insert(key, member.clone());
        Ok(member)
    }

    /// Does something with these topics if Kafka is this installation's, and remembers whether that worked.
    async fn with<T>(&self, of: Use, topics: Vec<Topic>, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let outcome = match self.look().await {
            Ok(()) => work.await,
            Err(KafkaError::Store(error)) => Err(error),
            Err(other) => Err(StoreError::Unavailable(other.to_string())),
        };
        let failed = outcome.as_ref().err().map(ToString::to_string);
        if failed.is_some() {
            self.0.topics.forget();
        }
        let mut failing = self.0.failing.lock();
        for topic in topics {
            match &failed {
                Some(reason) => failing.insert((topic, of), (Instant::now(), reason.clone())),
                None => failing.remove(&(topic, of)),
            };
        }
        outcome
    }

    /// Lets the groups of the topic look anew where they stand.
    fn doubt(&self, topic: &Topic) {
        for member in self.0.members.lock().iter().filter(|((of, _), _)| of == topic).map(|(_, member)| member) {
            member.doubt();
        }
    }
}

fn said(failing: &BTreeMap<(Topic, Use), (Instant, String)>) -> Result<(), StoreError> {
    if failing.is_empty() {
        return Ok(());
    }
    let mut told: Vec<_> = failing.iter().take(TOLD).map(|((topic, _), (_, reason))| format!("{topic}: {reason}")).collect();
    if failing.len() > TOLD {
        told.push(format!("and {} more", failing.len() - TOLD));
    }
    Err(StoreError::Unavailable(told.join("; ")))
}

impl EventLog for KafkaLog {
    fn publish(&self, events: Vec<Publication>) -> BoxFuture<'_, Result<(), StoreError>> {
        let topics: BTreeSet<Topic> = events.iter().map(|event| event.topic.clone()).collect();
        Box::pin(self.with(Use::Publish, topics.iter().cloned().collect(), async move {
            let inner = &self.0;
            for topic in &topics {
                inner.topics.ensure(&inner.clients, topic).await?;
            }
            let record = |Publication { topic, key, payload }| {
                let topic = topics::name(&inner.clients, &topic);
                Record { topic, key, payload, media_type: Some(CLOUD_EVENT) }
            };
            let records: Vec<_> = events.into_iter().map(record).collect();
            inner.publisher.write(&inner.clients, &records).await
        }))
    }

    fn fetch<'a>(&'a self, topic: &'a Topic, after: Offset, limit: usize) -> BoxFuture<'a, Result<Vec<EventRecord>, StoreError>> {
        Box::pin(self.with(Use::Read, vec![topic.clone()], async move {
            let inner = &self.0;
            if inner.topics.has(&inner.clients, topic).await? {
                inner.readers.fetch(&inner.clients, topic, after.0, limit).await
            } else {
                Ok(Vec::new())
            }
        }))
    }

    fn wait<'a>(&'a self, topic: &'a Topic, after: Offset) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.with(Use::Read, vec![topic.clone()], async move {
            let inner = &self.0;
            inner.topics.ensure(&inner.clients, topic).await?;
            match inner.readers.wait(&inner.clients, topic, after.0).await? {
                Waited::Some => Ok(()),
                Waited::PastEnd(end) => {
                    self.doubt(topic);
                    Err(StoreError::Corrupt(format!("position {after} of {topic} is past its end, which is {end}", after = after.0)))
                }
            }
        }))
    }

    fn committed<'a>(&'a self, topic: &'a Topic, group: &'a Group) -> BoxFuture<'a, Result<Offset, StoreError>> {
        Box::pin(async move {
            let inner = &self.0;
            let reached = async {
                inner.topics.ensure(&inner.clients, topic).await?;
                topics::ends(&inner.clients, topic).await
            };
            self.with(Use::Read, vec![topic.clone()], reached).await?;
            // That another process reads for the group says nothing against Kafka.
            self.member(topic, group)?.position(&inner.clients).await.map(Offset)
        })
    }

    fn commit<'a>(&'a self, topic: &'a Topic, group: &'a Group, offset: Offset) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.with(
            Use::Read,
            vec![topic.clone()],
            async move { self.member(topic, group)?.advance(&self.0.clients, offset.0).await },
        ))
    }

    fn lost<'a>(&'a self, topic: &'a Topic, group: &'a Group) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let member = self.0.members.lock().get(&(topic.clone(), group.clone())).cloned();
            if let Some(member) = member {
                member.lost().await;
            }
        })
    }

    fn dead_letter<'a>(&'a self, topic: &'a Topic, event: EventRecord, reason: String) -> BoxFuture<'a, Result<(), StoreError>> {
        let dead = topic.dead();
        Box::pin(self.with(Use::Publish, vec![dead.clone()], async move {
            let inner = &self.0;
            inner.topics.ensure(&inner.clients, &dead).await?;
            let record = letters::record(topics::name(&inner.clients, &dead), topic, &event, reason);
            inner.publisher.write(&inner.clients, &[record]).await
        }))
    }

    fn topics_with_dead_letters(&self) -> BoxFuture<'_, Result<Vec<Topic>, StoreError>> {
        Box::pin(self.with(Use::Read, Vec::new(), async move {
            let mut found = Vec::new();
            for dead in topics::all(&self.0.clients).await? {
                let Some(topic) = dead.of_dead() else { continue };
                let (first, end) = topics::ends(&self.0.clients, &dead).await?;
                found.extend((end > first).then_some(topic));
            }
            Ok(found)
        }))
    }
}

impl fmt::Debug for KafkaLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = self.0.clients.options();
        f.debug_struct("KafkaLog").field("servers", &options.servers).field("prefix", &options.prefix).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_names_the_topics_that_are_of_no_use() {
        let topic = |name: &str| Topic(name.to_owned());
        assert!(said(&BTreeMap::new()).is_ok());
        let failed = |name: &str, of, reason: &str| ((topic(name), of), (Instant::now(), reason.to_owned()));
        let mut failing = BTreeMap::from([failed("a", Use::Publish, "why"), failed("b", Use::Read, "so")]);
        assert_eq!(said(&failing).unwrap_err().to_string(), "the store is unavailable: a: why; b: so");
        failing.extend((0..TOLD).map(|n| failed(&format!("c{n}"), Use::Read, "")));
        assert!(said(&failing).unwrap_err().to_string().ends_with("; and 2 more"));
    }
}
