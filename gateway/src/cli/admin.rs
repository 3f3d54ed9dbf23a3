//! `cellspace admin`: what an operator does with a running platform, as a client of its admin listener.

#[cfg(feature = "scylla")]
use super::args::SchemaArgs;
#[cfg(all(feature = "scylla", feature = "kafka"))]
use super::{args::ConfigArgs, cell_file::CellFile};
use super::{
    args::{AdminCommand, AgentArgs, OutboxArgs, PlatformArgs},
    backup, certs, nodes, topics,
};
use crate::node::Bootstrap;
use anyhow::{Context, Result, bail};
#[cfg(not(feature = "scylla"))]
use cellspace_storage::ScyllaError;
#[cfg(feature = "scylla")]
use cellspace_storage::scylla::{SCHEMA_VERSION, create_schema};
use http::{Method, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use url::{Url, form_urlencoded::Serializer};

const NO_CLIENT: &str = "the data directory holds no client: was the platform ever up there? Of a cell one process has it, and the logs of the others say which (client.elsewhere)";

pub async fn run(command: &AdminCommand) -> Result<()> {
    match command {
        AdminCommand::Token(args) => {
            let (_, _, token) = sign_in(&args.platform, args.scope.as_deref()).await?;
            println!("{token}");
        }
        AdminCommand::Nodes(args) => nodes::show(args).await?,
        AdminCommand::Drain(args) => nodes::drain(args).await?,
        AdminCommand::Finalize(platform) => nodes::finalize(platform).await?,
        AdminCommand::Move(args) => super::cells::move_to(args).await?,
        AdminCommand::Rebalance(args) => super::cells::rebalance(args).await?,
        AdminCommand::Parked(platform) => print(&call(platform, Method::GET, "/parked").await?),
        AdminCommand::Unpark(AgentArgs { platform, address }) => {
            call(platform, Method::POST, &agent(address, "/unpark")?).await?;
        }
        AdminCommand::Certs(args) => certs::run(args)?,
        #[cfg(feature = "scylla")]
        AdminCommand::Schema(args) => schema(args).await?,
        #[cfg(not(feature = "scylla"))]
        AdminCommand::Schema(_) => return Err(ScyllaError::NotBuilt.into()),
        #[cfg(all(feature = "scylla", feature = "kafka"))]
        AdminCommand::Terms(args) => terms(args).await?,
        #[cfg(not(all(feature = "scylla", feature = "kafka")))]
        AdminCommand::Terms(_) => bail!("this build runs no cells: it needs the features scylla and kafka"),
        AdminCommand::Backup(args) => backup::back_up(args).await?,
        AdminCommand::Restore(args) => backup::restore(args).await?,
        AdminCommand::Topics(args) => topics::run(args).await?,
        AdminCommand::Explain(AgentArgs { platform, address }) => print(&call(platform, Method::GET, &agent(address, "")?).await?),
        AdminCommand::Outbox(OutboxArgs { agent: AgentArgs { platform, address }, redrive, discard }) => match (redrive, discard) {
            (Some(letter), _) => {
                call(platform, Method::POST, &agent(address, &format!("/dead-letters/{}/redrive", segment(letter)))?).await?;
            }
            (None, Some(letter)) => {
                call(platform, Method::DELETE, &agent(address, &format!("/dead-letters/{}", segment(letter)))?).await?;
            }
            (None, None) => print(&call(platform, Method::GET, &agent(address, "/outbox")?).await?),
        },
    }
    Ok(())
}

#[cfg(feature = "scylla")]
async fn schema(args: &SchemaArgs) -> Result<()> {
    let options = args.keyspace.options(&args.cassandra)?;
    let keyspace = &options.keyspace;
    match create_schema(&options, &args.replication).await? {
        Some(SCHEMA_VERSION) => println!("keyspace {keyspace} has schema version {SCHEMA_VERSION}"),
        Some(before) => println!("keyspace {keyspace} has schema version {SCHEMA_VERSION}, up from {before}"),
        None => println!("keyspace {keyspace} was made, with schema version {SCHEMA_VERSION} and replication {}", args.replication),
    }
    Ok(())
}

#[cfg(all(feature = "scylla", feature = "kafka"))]
async fn terms(args: &ConfigArgs) -> Result<()> {
    let file = CellFile::read(&args.config)?;
    match file.cell().change_terms(&file.settings.config(&file.data)?).await? {
        Some(before) => println!("the cell has the terms of {} from now on; before, they were {before}", args.config.display()),
        None => println!("the cell has these terms already"),
    }
    Ok(())
}

pub(super) fn print(answer: &Value) {
    println!("{answer:#}");
}

pub(super) fn segment(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// Path of an agent, or of something below it. Addresses are written as in logs: `kind/owner`, or `kind/owner/name`.
fn agent(address: &str, below: &str) -> Result<String> {
    let (kind, rest) = address.split_once('/').context("an address is kind/owner or kind/owner/name")?;
    let (owner, name) = rest.split_once('/').map_or((rest, ""), |(owner, name)| (owner, name));
    let query = if name.is_empty() { String::new() } else { format!("?name={}", segment(name)) };
    Ok(format!("/agents/{}/{}{below}{query}", segment(kind), segment(owner)))
}

/// Calls an operation of the runtime; answers its body, null without one.
pub(super) async fn call(platform: &PlatformArgs, method: Method, path: &str) -> Result<Value> {
    let (http, base, token) = sign_in(platform, None).await?;
    let request = http.request(method, format!("{base}/api/runtime{path}")).bearer_auth(token);
    let answer = request.send().await.context("the platform does not answer (is it up?)")?;
    let status = answer.status();
    let text = answer.text().await?;
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    if !status.is_success() {
        bail!("{}", body["detail"].as_str().unwrap_or(status.as_str()));
    }
    Ok(body)
}

/// A client that believes the platform, base URL of the admin listener, and an access token of the first client.
async fn sign_in(platform: &PlatformArgs, scope: Option<&str>) -> Result<(reqwest::Client, String, String)> {
    let http = reqwest::Client::builder().tls_certs_merge(platform.trust.authorities()?).build()?;
    let client = Bootstrap::read(&platform.data.data_dir)?.context(NO_CLIENT)?;
    let named = platform.at.as_ref().map_or_else(|| client.token_url.trim_end_matches("/token"), Url::as_str);
    let base = named.trim_end_matches('/').to_owned();
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    form.append_pair("client_id", &client.client_id).append_pair("client_secret", client.secret());
    if let Some(scope) = scope {
        form.append_pair("scope", scope);
    }
    let request = http.post(format!("{base}/token")).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    let answer = request.body(form.finish()).send().await.context("the platform does not answer (is it up?)")?;
    let body: Value = answer.json().await.context("the platform did not answer with JSON")?;
    match body.get("access_token").and_then(Value::as_str) {
        Some(token) => Ok((http, base, token.to_owned())),
        None => bail!("{}", body.get("error_description").and_then(Value::as_str).unwrap_or("no token")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_logs() {
        for (address, path) in
            [("control-plane/p1", "/agents/control%2Dplane/p1/outbox"), ("directory/a b/7", "/agents/directory/a%20b/outbox?name=7")]
        {
            assert_eq!(agent(address, "/outbox").ok().as_deref(), Some(path));
        }
        assert!(agent("p1", "").is_err());
    }
}
