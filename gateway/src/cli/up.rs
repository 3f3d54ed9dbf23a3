//! `cellspace up`: the platform, staying.

use super::{
    args::{DataArgs, UpArgs},
    signals::Signals,
};
use crate::node::{Bootstrap, Node};
use serde_json::json;
use std::{
    io::{self, Write},
    time::Duration,
};

/// How long a drain waits for what is under way, in all.
const DRAIN: Duration = Duration::from_secs(20);

/// Runs until a signal comes.
pub async fn run(args: &UpArgs) -> anyhow::Result<()> {
    // Before the start, so that a signal during it is not lost.
    let mut signals = Signals::listen()?;
    let config = args.settings.config(&args.data)?;
    let node = tokio::select! {
        node = Node::start(config) => node?,
        () = signals.next() => anyhow::bail!("ended by a signal before the platform was up"),
    };
    say(&if args.json { json_line(&node, &args.data) } else { text(&node, &args.data) });
    signals.next().await;
    if !args.json {
        say("\nending; again to end at once");
    }
    tokio::select! {
        () = node.drain(DRAIN) => Ok(()),
        () = signals.next() => anyhow::bail!("ended before everything was finished; what is left goes on at the next start"),
    }
}

/// The platform goes on when nobody reads any more.
pub(super) fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

pub(super) fn json_line(node: &Node, data: &DataArgs) -> String {
    let bare = |url: &url::Url| url.as_str().trim_end_matches('/').to_owned();
    let mut line = json!({
        "public": bare(&node.urls.public),
        "admin": bare(&node.urls.admin),
        "ops": node.ops_url(),
        "dataDir": data.data_dir,
    });
    if let Some(client) = &node.bootstrap {
        line["clientId"] = client.client_id.as_str().into();
        line["clientFile"] = client.path.display().to_string().into();
        if client.is_new {
            line["clientSecret"] = client.secret().into();
        }
        line["tokenUrl"] = client.token_url.as_str().into();
    }
    line.to_string()
}

fn text(node: &Node, data: &DataArgs) -> String {
    let client = match &node.bootstrap {
        Some(client) if client.is_new => new_client(client),
        Some(client) => format!("The first client is in {}.", client.path.display()),
        None => format!(
            "There is no file of the first client, or none that opens anything; clients are managed at {}.",
            node.urls.admin("/api/v1/clients")
        ),
    };
    let lines = [
        format!("Cellspace {} is up.\n", env!("CARGO_PKG_VERSION")),
        format!("  public  {:<28} DSP, DCP, DID documents, data", node.urls.public("/")),
        format!("  admin   {:<28} management, identity, issuer, fabric, tokens", node.urls.admin("/")),
        format!("  ops     {:<28} health, metrics", format!("{}/", node.ops_url())),
        format!("  data    {}\n", data.data_dir.display()),
        client,
        "Ctrl-C ends it.".to_owned(),
    ];
    lines.join("\n")
}

pub(super) fn new_client(client: &Bootstrap) -> String {
    let (id, secret, url) = (&client.client_id, client.secret(), &client.token_url);
    let lines = [
        format!("The first client may do everything. Its secret is shown this once and kept in {}:\n", client.path.display()),
        format!("  client_id      {id}\n  client_secret  {secret}\n"),
        "An access token for an hour:\n".to_owned(),
        format!("  curl -s {url} -d grant_type=client_credentials -d client_id={id} -d client_secret={secret}\n"),
    ];
    lines.join("\n")
}
