//! `cellspace admin`: what an operator does with a running platform.

use super::args::{AdminCommand, TokenArgs};
use crate::node::Bootstrap;
use anyhow::{Context, bail};
use http::header;
use serde_json::Value;
use url::form_urlencoded::Serializer;

pub async fn run(command: &AdminCommand) -> anyhow::Result<()> {
    match command {
        AdminCommand::Token(args) => token(args).await,
    }
}

async fn token(args: &TokenArgs) -> anyhow::Result<()> {
    let client = Bootstrap::read(&args.data.data_dir)?.context("the data directory holds no client; was the platform ever up there?")?;
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    form.append_pair("client_id", &client.client_id).append_pair("client_secret", client.secret());
    if let Some(scope) = &args.scope {
        form.append_pair("scope", scope);
    }
    let request = reqwest::Client::new().post(&client.token_url).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    let answer = request.body(form.finish()).send().await.context("the platform cannot be reached; is it up?")?;
    let body: Value = answer.json().await.context("the platform did not answer with JSON")?;
    match body.get("access_token").and_then(Value::as_str) {
        Some(token) => println!("{token}"),
        None => bail!("{}", body.get("error_description").and_then(Value::as_str).unwrap_or("no token")),
    }
    Ok(())
}
