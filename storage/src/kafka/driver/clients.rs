//! Clients of Kafka: how they are set up, how they are asked, how they are left.

use super::{KafkaError, KafkaOptions};
use crate::StoreError;
use rdkafka::{
    ClientConfig, ClientContext,
    config::{FromClientConfigAndContext, RDKafkaLogLevel},
    consumer::{BaseConsumer, ConsumerContext},
    error::KafkaError as Refused,
    statistics::Statistics,
};
use std::{ops::Deref, sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// Questions that may be open at once; more wait in turn.
const QUESTIONS: usize = 8;
/// Bytes that an event may have, with its key: more than any commit has.
pub(super) const EVENT_BYTES: usize = 16 << 20;

/// What the library says goes to the log of somebody who looks for it. Who asked it for something is told by the answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(category = "app", facility, message, "Kafka's client");
    }

    fn error(&self, error: Refused, reason: &str) {
        tracing::debug!(category = "app", %error, reason, "Kafka's client");
    }

    fn stats(&self, _: Statistics) {}
}

impl ConsumerContext for Quiet {}

/// Something whose end may wait for Kafka: that is done on a thread of its own.
pub(super) struct Aside<T: Send + 'static>(Option<T>);

impl<T: Send + 'static> Aside<T> {
    pub(super) const fn new(client: T) -> Self {
        Self(Some(client))
    }
}

impl<T: Send + 'static> Deref for Aside<T> {
    type Target = Option<T>;

    fn deref(&self) -> &Option<T> {
        &self.0
    }
}

impl<T: Send + 'static> Drop for Aside<T> {
    fn drop(&mut self) {
        if let Some(client) = self.0.take() {
            // When no thread can be had, it ends here.
            let _ = std::thread::Builder::new().name("kafka-end".to_owned()).spawn(move || drop(client));
        }
    }
}

/// Makes clients, and asks.
pub(super) struct Clients {
    options: KafkaOptions,
    asker: Arc<BaseConsumer<Quiet>>,
    questions: Arc<Semaphore>,
}

impl Clients {
    pub(super) fn new(options: KafkaOptions) -> Result<Self, KafkaError> {
        options.check()?;
        // A consumer without a group makes no topics, whatever the brokers would do by themselves.
        let asker = create(&config(&options), Quiet)?;
        Ok(Self { options, asker: Arc::new(asker), questions: Arc::new(Semaphore::new(QUESTIONS)) })
    }

    pub(super) const fn options(&self) -> &KafkaOptions {
        &self.options
    }

    /// What all clients are set up with.
    pub(super) fn config(&self) -> ClientConfig {
        config(&self.options)
    }

    /// Asks Kafka something that takes a while, which is at most the time it is given.
    pub(super) async fn ask<T, A>(&self, ask: A) -> Result<T, StoreError>
    where
        T: Send + 'static,
        A: FnOnce(&BaseConsumer<Quiet>, Duration) -> Result<T, Refused> + Send + 'static,
    {
        let (asker, limit) = (self.asker.clone(), self.options.answer);
        self.off_the_executor(move || {
            // What the library has to say since the last time.
            while asker.poll(Duration::ZERO).is_some() {}
            ask(&asker, limit)
        })
        .await
    }

    /// Does something that waits for Kafka on another thread, as soon as there are few such.
    pub(super) async fn off_the_executor<T, A>(&self, work: A) -> Result<T, StoreError>
    where
        T: Send + 'static,
        A: FnOnce() -> Result<T, Refused> + Send + 'static,
    {
        // Twice: for a place, and for the answer, which has its own limit.
        let limit = self.options.answer * 2;
        let asked = async {
            let permit = self.questions.clone().acquire_owned().await;
            let answer = tokio::task::spawn_blocking(move || {
                let _permit = permit;
                work()
            });
            answer.await.map_err(|e| StoreError::Unavailable(e.to_string()))?.map_err(|e| unavailable(&e))
        };
        within(limit, asked).await
    }
}

/// Ends with an error when it takes longer.
pub(super) async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let late = || StoreError::Unavailable(format!("Kafka did not answer within {} s", limit.as_secs()));
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(late()))
}

/// A client with this configuration.
pub(super) fn create<X, C: FromClientConfigAndContext<X>>(config: &ClientConfig, context: X) -> Result<C, KafkaError>
where
    X: ClientContext,
{
    config.create_with_context(context).map_err(|e| KafkaError::Client(e.to_string()))
}

pub(super) fn unavailable(error: &Refused) -> StoreError {
    StoreError::Unavailable(format!("Kafka: {error}"))
}

fn config(options: &KafkaOptions) -> ClientConfig {
    let mut config = ClientConfig::new();
    let milliseconds = |time: Duration| time.as_millis().to_string();
    config
        .set("bootstrap.servers", options.servers.join(","))
        .set("client.id", "cellspace")
        .set("message.max.bytes", EVENT_BYTES.to_string())
        .set("socket.timeout.ms", milliseconds(options.answer))
        .set("socket.connection.setup.timeout.ms", "5000")
        .set("socket.keepalive.enable", "true")
        // Soon there again when Kafka is.
        .set("reconnect.backoff.ms", "100")
        .set("reconnect.backoff.max.ms", "1000")
        .set_log_level(RDKafkaLogLevel::Warning);
    config
}
