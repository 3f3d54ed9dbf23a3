//! Publishing: an idempotent producer, one batch after the other. A batch that fails takes its producer with it, so that nothing of it comes after what is
//! published later.

use super::{
    KafkaError,
    clients::{Aside, Clients, EVENT_BYTES, Quiet, create, unavailable, within},
    topics::PARTITION,
};
use crate::StoreError;
use bytes::Bytes;
use rdkafka::{
    error::KafkaError as Refused,
    message::{Header, OwnedHeaders},
    producer::{DeliveryFuture, FutureProducer, FutureRecord},
    types::RDKafkaErrorCode,
};
use std::{collections::VecDeque, time::Duration};
use tokio::sync::Mutex;

/// Events that the producer holds at once.
const HELD: &str = "4096";
/// Kilobytes of them; more than the largest event.
const HELD_KILOBYTES: &str = "32768";
/// The library's own limit for an event is not to be reached: it would let later ones through.
const LATE: u32 = 6;

/// A record to write.
pub(super) struct Record {
    /// Kafka's name of the topic.
    pub(super) topic: String,
    pub(super) key: String,
    pub(super) payload: Bytes,
    /// Media type, when there is one.
    pub(super) media_type: Option<&'static str>,
}

type Producer = Aside<FutureProducer<Quiet>>;

/// Writes records.
#[derive(Default)]
pub(super) struct Publisher {
    producer: Mutex<Option<Producer>>,
}

impl Publisher {
    /// Writes records in their order; all replicas in sync have them when this answers well. After an error some of them may be there.
    pub(super) async fn write(&self, clients: &Clients, records: &[Record]) -> Result<(), StoreError> {
        if let Some(record) = records.iter().find(|record| record.payload.len() + record.key.len() > EVENT_BYTES) {
            return Err(StoreError::Refused(format!("an event for {} has more than {EVENT_BYTES} bytes", record.topic)));
        }
        within(clients.options().answer, async {
            let mut place = self.producer.lock().await;
            // Put back only after it did all: else it goes, with what it still holds.
            let producer = match place.take() {
                Some(producer) => producer,
                None => Aside::new(make(clients).map_err(|e| StoreError::Unavailable(e.to_string()))?),
            };
            if let Some(client) = producer.as_ref() {
                send(client, records).await?;
            }
            *place = Some(producer);
            Ok(())
        })
        .await
    }

    /// Ends the producer, unless it writes: then it ends with the process.
    pub(super) fn end(&self) {
        if let Ok(mut producer) = self.producer.try_lock() {
            producer.take();
        }
    }
}

fn make(clients: &Clients) -> Result<FutureProducer<Quiet>, KafkaError> {
    let answer = clients.options().answer;
    let milliseconds = |time: Duration| time.as_millis().to_string();
    let mut config = clients.config();
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("request.timeout.ms", milliseconds(answer))
        .set("message.timeout.ms", milliseconds(answer * LATE))
        .set("queue.buffering.max.messages", HELD)
        .set("queue.buffering.max.kbytes", HELD_KILOBYTES)
        // A batch is handed over at once.
        .set("linger.ms", "1");
    create(&config, Quiet)
}

async fn send(producer: &FutureProducer<Quiet>, records: &[Record]) -> Result<(), StoreError> {
    let mut on_the_way: VecDeque<DeliveryFuture> = VecDeque::new();
    for record in records {
        loop {
            let mut new = FutureRecord::to(&record.topic).partition(PARTITION).key(&record.key).payload(&record.payload[..]);
            if let Some(media_type) = record.media_type {
                new = new.headers(OwnedHeaders::new().insert(Header { key: "content-type", value: Some(media_type) }));
            }
            match (producer.send_result(new), on_the_way.pop_front()) {
                (Ok(delivery), first) => {
                    if let Some(first) = first {
                        on_the_way.push_front(first);
                    }
                    on_the_way.push_back(delivery);
                    break;
                }
                // There is room when the first one has arrived.
                (Err((Refused::MessageProduction(RDKafkaErrorCode::QueueFull), _)), Some(first)) => arrived(first).await?,
                (Err((error, _)), _) => return Err(failed(&error)),
            }
        }
    }
    for delivery in on_the_way {
        arrived(delivery).await?;
    }
    Ok(())
}

async fn arrived(delivery: DeliveryFuture) -> Result<(), StoreError> {
    match delivery.await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err((error, _))) => Err(failed(&error)),
        Err(_) => Err(StoreError::Unavailable("Kafka's client has ended".to_owned())),
    }
}

/// Refused when brokers never take it: such as an event that is longer than its topic's `max.message.bytes`, where somebody has set that.
fn failed(error: &Refused) -> StoreError {
    use RDKafkaErrorCode as Code;
    match error {
        Refused::MessageProduction(Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::InvalidRecord) => {
            StoreError::Refused(format!("Kafka: {error}"))
        }
        _ => unavailable(error),
    }
}
