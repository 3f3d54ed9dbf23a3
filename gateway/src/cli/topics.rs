//! `cellspace admin topics`: what an operator sees and does of the log of events in Kafka.

#[cfg(feature = "kafka")]
use super::admin::print;
use super::args::TopicsArgs;
use anyhow::Result;
#[cfg(feature = "kafka")]
use cellspace_actors::fabric::topics;
#[cfg(not(feature = "kafka"))]
use cellspace_storage::KafkaError;
#[cfg(feature = "kafka")]
use cellspace_storage::{DeadLetter, EventLog, KafkaLog, Offset, Topic, event_log};
#[cfg(feature = "kafka")]
use serde_json::{Value, json};

/// Dead letters shown at once.
#[cfg(feature = "kafka")]
const SHOWN: usize = 100;

#[cfg(not(feature = "kafka"))]
pub async fn run(_: &TopicsArgs) -> Result<()> {
    Err(KafkaError::NotBuilt.into())
}

#[cfg(feature = "kafka")]
pub async fn run(args: &TopicsArgs) -> Result<()> {
    let log = KafkaLog::new(args.topics.options(&args.kafka), None)?;
    if let Some(topic) = &args.replay {
        let done = event_log::replay(&log, &Topic(topic.clone())).await?;
        println!("{} dead letters of {topic} are published again", done.published);
        if done.gone > 0 {
            println!("{} were too long for a letter, and are not in the topic any more", done.gone);
        }
    } else if let Some(topic) = &args.dead_letters {
        let letters = log.dead_letters(&Topic(topic.clone()), Offset(args.after), SHOWN).await?;
        let shown = |letter: &DeadLetter| {
            let DeadLetter { position, key, offset, reason, event, .. } = letter;
            json!({ "position": position, "key": key, "offset": offset, "reason": reason, "event": event })
        };
        print(&letters.iter().map(shown).collect());
    } else {
        if args.create {
            let wanted: Vec<_> = topics::all().into_iter().map(Topic).collect();
            for topic in log.make_topics(&wanted).await? {
                println!("topic {}{topic} was made", args.topics.kafka_prefix);
            }
            return Ok(());
        }
        let report: Value = serde_json::to_value(log.report().await?)?;
        print(&report);
    }
    Ok(())
}
