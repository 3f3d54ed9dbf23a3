//! `cellspace demo`: a platform of its own, and the story played on it through the public HTTP APIs only.

mod timeline;

use crate::node::{Bootstrap, Node, NodeConfig, Ports};
use anyhow::{Context, Result};
use cellspace_client::{Caller, Client, operator, provider, source, story, tenants};
use std::time::Duration;
use timeline::Timeline;

/// Age of status lists in the demo: how soon a revocation takes effect at the latest.
pub const STATUS_LIST_AGE: Duration = Duration::from_secs(2);
/// How long the demo waits for an answer.
const ANSWER: Duration = Duration::from_secs(90);
/// How long the platform may take to stop.
const STOP: Duration = Duration::from_secs(10);

/// How the demo is played.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Leave the platform running and print how to reach it.
    pub keep: bool,
    /// One JSON object a step.
    pub json: bool,
}

/// Plays the story on a fresh platform; `stopped` ends a kept one.
///
/// # Errors
/// At the first step that does not go as it must.
pub async fn run(options: Options, stopped: impl Future<Output = ()>) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("cellspace-demo-").tempdir().context("no temporary folder")?;
    let mut config = NodeConfig { ports: Ports::Free, ..NodeConfig::new(folder.path().join("data")) };
    config.status_list_age = STATUS_LIST_AGE;
    let node = Node::start(config).await?;
    let bootstrap = node.bootstrap.clone().context("the platform made no first client")?;
    let base = |url: &url::Url| url.as_str().trim_end_matches('/').to_owned();
    let http = reqwest::Client::builder().timeout(ANSWER).build()?;
    let mut client = Client::new(http, base(&node.urls.admin), base(&node.urls.public), Box::new(Timeline::new(options.json)));
    let played = play(&mut client, &bootstrap, &node.urls.did_host()).await;
    match &played {
        Ok((admin, cast)) => {
            client.reporter.finished();
            if options.keep {
                print_ways_in(&node, &bootstrap, admin, cast);
                stopped.await;
            }
        }
        Err(reason) => client.reporter.broken(reason),
    }
    node.drain(STOP).await;
    played.map(drop)
}

async fn play(client: &mut Client, bootstrap: &Bootstrap, did_host: &str) -> Result<(Caller, story::Cast)> {
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
    story::revoke(client, &platform, &cast, STATUS_LIST_AGE).await?;
    Ok((admin, cast))
}

fn print_ways_in(node: &Node, bootstrap: &Bootstrap, admin: &Caller, cast: &story::Cast) {
    let admin_url = node.urls.admin("");
    println!("\nthe platform keeps running; Ctrl-C ends it");
    println!("  public  {}\n  admin   {admin_url}\n  ops     {}", node.urls.public(""), node.ops_url());
    println!("  client  {} with secret {}", bootstrap.client_id, bootstrap.secret());
    println!("  tokens, valid for an hour:");
    println!("    admin     {}", admin.token);
    for participant in [&cast.provider, &cast.consumer, &cast.third] {
        println!("    {:<9} {}  (context {})", participant.caller.name, participant.caller.token, participant.context);
    }
    println!("  for example:");
    println!("    curl -H 'authorization: Bearer {}' {admin_url}/api/tm/tenants", admin.token);
    let provider = &cast.provider;
    println!(
        "    curl -H 'authorization: Bearer {}' -H 'content-type: application/json' -d '{{\"@context\":[\"https://w3id.org/edc/connector/management/v2\"],\"@type\":\"QuerySpec\"}}' {admin_url}{}",
        provider.caller.token,
        provider.path("assets/request")
    );
}
