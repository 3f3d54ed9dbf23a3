//! `cellspace up`: the platform, staying.

use super::{args::UpArgs, signals::Signals};
use crate::node::{Bootstrap, Node};
use serde_json::json;
use std::time::Duration;

/// How long a drain waits for what is under way, in all.
const DRAIN: Duration = Duration::from_secs(20);

/// Runs until a signal comes.
pub async fn run(args: &UpArgs) -> anyhow::Result<()> {
    // Before the start, so that a signal during it is not lost.
    let mut signals = Signals::listen()?;
    let config = args.config()?;
    let node = tokio::select! {
        node = Node::start(config) => node?,
        () = signals.next() => anyhow::bail!("ended by a signal before the platform was up"),
    };
    if args.json {
        print_json(&node, args)
    } else {
        print_text(&node, args)
    }
    signals.next().await;
    if !args.json {
        println!("\nending; again to end at once");
    }
    tokio::select! {
        () = node.drain(DRAIN) => Ok(()),
        () = signals.next() => anyhow::bail!("ended before everything was finished; what is left goes on at the next start"),
    }
}

fn print_json(node: &Node, args: &UpArgs) {
    let bare = |url: &url::Url| url.as_str().trim_end_matches('/').to_owned();
    let mut line = json!({
        "public": bare(&node.urls.public),
        "admin": bare(&node.urls.admin),
        "ops": node.ops_url(),
        "dataDir": args.data.data_dir,
    });
    if let Some(client) = &node.bootstrap {
        line["clientId"] = client.client_id.as_str().into();
        line["clientFile"] = client.path.display().to_string().into();
        if client.is_new {
            line["clientSecret"] = client.secret().into();
        }
        line["tokenUrl"] = client.token_url.as_str().into();
    }
    println!("{line}");
}

fn print_text(node: &Node, args: &UpArgs) {
    println!("Cellspace {} is up.\n", env!("CARGO_PKG_VERSION"));
    println!("  public  {:<28} DSP, DCP, DID documents, data", node.urls.public("/"));
    println!("  admin   {:<28} management, identity, issuer, fabric, tokens", node.urls.admin("/"));
    println!("  ops     {:<28} health, metrics", format!("{}/", node.ops_url()));
    println!("  data    {}\n", args.data.data_dir.display());
    match &node.bootstrap {
        Some(client) if client.is_new => print_client(client),
        Some(client) => println!("The first client is in {}.", client.path.display()),
        None => println!("The file of the first client was removed; clients are managed at {}.", node.urls.admin("/api/v1/clients")),
    }
    println!("Ctrl-C ends it.");
}

fn print_client(client: &Bootstrap) {
    let (id, secret, url) = (&client.client_id, client.secret(), &client.token_url);
    println!("The first client may do everything. Its secret is shown this once and kept in {}:\n", client.path.display());
    println!("  client_id      {id}\n  client_secret  {secret}\n");
    println!("An access token for an hour:\n");
    println!("  curl -s {url} -d grant_type=client_credentials -d client_id={id} -d client_secret={secret}\n");
}
