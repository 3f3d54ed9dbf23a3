//! Whose the topics under a prefix are.

use super::{KafkaLog, KafkaOptions, event, options};
use crate::{EventLog, KafkaError};

fn of(options: &KafkaOptions, installation: &str) -> KafkaLog {
    KafkaLog::new(options.clone(), Some(installation.to_owned())).unwrap()
}

#[tokio::test]
async fn a_prefix_is_one_installations() {
    let Some(options) = options("a_prefix_is_one_installations") else { return };
    // Another Kafka, or another prefix, than it began with.
    let refused = of(&options, "a").look().await.unwrap_err();
    assert!(matches!(&refused, KafkaError::OtherInstallation { found: "are not there", .. }), "{refused}");
    of(&options, "a").publish(vec![event("t", "1")]).await.unwrap_err();
    of(&options, "a").begin().await.unwrap();
    of(&options, "a").begin().await.unwrap();
    let own = of(&options, "a");
    own.look().await.unwrap();
    own.publish(vec![event("t", "1")]).await.unwrap();
    for other in [of(&options, "b").begin().await, of(&options, "b").look().await] {
        assert!(matches!(&other, Err(KafkaError::OtherInstallation { found: "belong to another installation", .. })), "{other:?}");
    }
    of(&options, "b").publish(vec![event("t", "2")]).await.unwrap_err();
}
