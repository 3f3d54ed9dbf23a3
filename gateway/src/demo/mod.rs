//! `cellspace demo`: a platform of its own, and the story played on it through the public HTTP APIs only.

mod place;
mod timeline;

pub use place::Place;

use crate::node::{Bootstrap, Node, NodeConfig, Ports, StartError};
use anyhow::{Context, Error, Result, anyhow};
use cellspace_actors::{PublicUrls, outbound::Certificate};
use cellspace_client::{Caller, Client, Patience, Reporter, operator, provider, source, story, tenants};
use cellspace_storage::{KafkaError, KafkaOptions, MasterKey, ScyllaError, ScyllaOptions};
use serde_json::{Value, json};
use std::time::Duration;
use timeline::Timeline;
use tokio_util::sync::CancellationToken;

/// Age of status lists in the demo: how soon a revocation takes effect at the latest.
pub const STATUS_LIST_AGE: Duration = Duration::from_secs(2);
/// The same on a platform that others have set up: the default of `cellspace up` and `run`.
const STATUS_LIST_AGE_OF_OTHERS: Duration = Duration::from_secs(5);
/// How long a platform that is up may be away.
const PATIENCE: Patience = Patience { limit: Duration::from_secs(30), pause: Duration::from_millis(100) };
/// How long the demo waits for an answer.
const ANSWER: Duration = Duration::from_secs(90);
/// How long the platform may take to stop.
const STOP: Duration = Duration::from_secs(10);

/// How the demo is played.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Leave the platform running and print how to reach it.
    pub keep: bool,
    /// One JSON object a line.
    pub json: bool,
    /// The empty keyspace that the platform keeps its agents in; without one they are in its data directory.
    pub store: Option<ScyllaOptions>,
    /// The Kafka that events go to, with a prefix that nobody uses; without one they stay in its data directory.
    pub events: Option<KafkaOptions>,
}

/// The demo failed and has said why.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the demo failed")]
pub struct Told;

/// A platform that is up already, on which nobody has played.
#[derive(Debug)]
pub struct Against {
    /// Base URL of its public listener.
    pub public: url::Url,
    /// Its first client, or another one that may do everything.
    pub client: Bootstrap,
    /// Whose certificates are believed, beside those that the system believes.
    pub authorities: Vec<Certificate>,
}

/// Plays the story on a platform that is up, and leaves it so. Calls that are not answered, or with 503, are repeated as a client repeats them.
///
/// # Errors
/// [`Told`], at the first step that does not go as it must.
pub async fn run_against(against: Against, json: bool, stop: CancellationToken) -> Result<()> {
    let timeline = Timeline::new(json, None);
    let unheard = timeline.unheard();
    let Against { public, client: bootstrap, authorities } = against;
    let admin = bootstrap.token_url.strip_suffix("/token").context("the client's file names no token endpoint of a platform")?;
    let urls = PublicUrls { public, admin: admin.parse()? };
    timeline.found(&urls.public(""));
    let mut client = client_of(&urls, authorities, timeline)?;
    client.patience = Some(PATIENCE);
    let played = tokio::select! {
        played = play(&mut client, &urls, &bootstrap, STATUS_LIST_AGE_OF_OTHERS) => played,
        () = stop.cancelled() => Err(anyhow!("ended by a signal before the story was over")),
        () = unheard.cancelled() => Err(Told.into()),
    };
    match played {
        Ok(_) => {
            client.reporter.finished();
            Ok(())
        }
        Err(reason) => {
            if !reason.is::<Told>() {
                client.reporter.broken(&reason);
            }
            Err(Told.into())
        }
    }
}

fn client_of(urls: &PublicUrls, authorities: Vec<Certificate>, timeline: Timeline) -> Result<Client> {
    let base = |url: &url::Url| url.as_str().trim_end_matches('/').to_owned();
    let http = reqwest::Client::builder().timeout(ANSWER).tls_certs_merge(authorities).build()?;
    Ok(Client::new(http, base(&urls.admin), base(&urls.public), Box::new(timeline)))
}

/// Plays the story on a fresh platform; `stop` ends it early, and a kept platform.
///
/// # Errors
/// [`Told`], at the first step that does not go as it must; of a build that lacks the chosen store or log, what it lacks.
pub async fn run(options: Options, mut place: Place, stop: CancellationToken) -> Result<()> {
    let mut timeline = Timeline::new(options.json, Some(place.log()));
    let unheard = timeline.unheard();
    let mut config = NodeConfig { ports: Ports::Free, ..NodeConfig::new(place.data()) };
    // It goes with the platform.
    config.master_key = Some(MasterKey::File(place.data().join("master.key")));
    config.status_list_age = STATUS_LIST_AGE;
    config.scylla.clone_from(&options.store);
    config.kafka.clone_from(&options.events);
    let node = match Node::start(config).await {
        Ok(node) => node,
        // Of a build that lacks something there is nothing to look at.
        Err(reason @ (StartError::Scylla(ScyllaError::NotBuilt) | StartError::Kafka(KafkaError::NotBuilt))) => return Err(reason.into()),
        Err(reason) => {
            place.keep();
            timeline.broken(&reason.into());
            return Err(Told.into());
        }
    };
    timeline.begun(&node.urls.public(""));
    let mut client = client_of(&node.urls, Vec::new(), timeline)?;
    let story = async {
        let bootstrap = node.bootstrap.as_ref().context("the platform made no first client")?;
        let (admin, cast) = play(&mut client, &node.urls, bootstrap, STATUS_LIST_AGE).await?;
        Ok::<_, Error>(ways_in(&node, bootstrap, &admin, &cast))
    };
    let played = tokio::select! {
        played = story => played,
        () = stop.cancelled() => Err(anyhow!("ended by a signal before the story was over")),
        // There is nobody to tell.
        () = unheard.cancelled() => Err(Told.into()),
    };
    let outcome = match played {
        Ok(ways) => {
            client.reporter.finished();
            if options.keep {
                Timeline::new(options.json, Some(place.log())).kept(&ways);
                stop.cancelled().await;
            }
            Ok(())
        }
        Err(reason) => {
            if !reason.is::<Told>() {
                place.keep();
                client.reporter.broken(&reason);
            }
            Err(Error::from(Told))
        }
    };
    node.drain(STOP).await;
    outcome
}

/// Answers who has played on the platform.
async fn play(client: &mut Client, urls: &PublicUrls, bootstrap: &Bootstrap, status_list_age: Duration) -> Result<(Caller, story::Cast)> {
    let did_host = &urls.did_host();
    let admin = client.client_token("admin", &bootstrap.client_id, bootstrap.secret()).await?;
    let platform = operator::prepare(client, admin.clone(), did_host).await?;
    let cast = story::Cast {
        provider: tenants::onboard(client, &platform, "provider", did_host, true).await?,
        consumer: tenants::onboard(client, &platform, "consumer", did_host, true).await?,
        third: tenants::onboard(client, &platform, "third", did_host, false).await?,
    };
    story::border(client, &platform, &cast).await?;
    let source = source::serve().await.context("the data source cannot be served")?;
    provider::offer(client, &cast.provider, &format!("http://{source}")).await?;
    let shared = story::consumer(client, &cast).await?;
    story::third(client, &cast, &shared).await?;
    story::terminate(client, &cast, &shared).await?;
    story::revoke(client, &platform, &cast, &shared, status_list_age).await?;
    Ok((admin, cast))
}

fn ways_in(node: &Node, bootstrap: &Bootstrap, admin: &Caller, cast: &story::Cast) -> Value {
    let admin_url = node.urls.admin("");
    let provider = &cast.provider;
    let query = json!({ "@context": [cellspace_client::client::MANAGEMENT_CONTEXT], "@type": "QuerySpec" });
    let mut tokens = vec![json!({ "name": "admin", "token": admin.token })];
    tokens.extend([&cast.provider, &cast.consumer, &cast.third].map(|participant| {
        json!({ "name": &*participant.caller.name, "context": participant.context, "did": participant.did, "token": participant.caller.token })
    }));
    json!({
        "public": node.urls.public(""), "admin": admin_url, "ops": node.ops_url(),
        "client": { "id": bootstrap.client_id, "secret": bootstrap.secret(), "tokenUrl": bootstrap.token_url },
        "tokens": tokens,
        "curl": [
            format!("curl -H 'authorization: Bearer {}' {admin_url}/api/tm/tenants", admin.token),
            format!("curl -H 'authorization: Bearer {}' -H 'content-type: application/json' -d '{query}' {admin_url}{}", provider.caller.token, provider.path("assets/request")),
        ],
    })
}
