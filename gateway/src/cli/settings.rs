//! What may be chosen of a platform, whether it is one process or several: options of `cellspace up`, and keys of the file of `cellspace run`.

use super::args::{DataArgs, EventsArgs, MasterKeyArgs, StoreArgs, TrustArgs, VaultArgs};
use crate::{
    auth::IssuerConfig,
    http::wait::{DURATION, parse_duration},
    node::{NodeConfig, Ports},
    server::TlsFiles,
};
use cellspace_actors::issuer::ListBits;
use cellspace_cluster::link::PeerName;
use cellspace_schemas::ParticipantContextId;
use cellspace_storage::NodeName;
use clap::{Args, ValueEnum, builder::BoolishValueParser};
use std::{net::IpAddr, path::PathBuf, time::Duration};
use url::Url;

#[derive(Debug, Args)]
pub struct Settings {
    /// Address to listen on. Another one than loopback needs --tls-cert, or --allow-plain-http.
    #[arg(long, value_name = "IP", default_value = "127.0.0.1", env = "CELLSPACE_HOST")]
    pub host: IpAddr,
    /// Port of the public listener, at most 65533; admin and operations take the next two. 0 takes free ones at the first start. Without it the ports of the
    /// last start are taken, at the first start 7070 to 7072.
    #[arg(long, value_name = "N", env = "CELLSPACE_PORT")]
    pub port: Option<u16>,
    /// File with the certificate of all listeners (PEM, followed by those between it and its authority): they are served over TLS. Read anew when it changes.
    #[arg(long, value_name = "FILE", requires = "tls_key", env = "CELLSPACE_TLS_CERT")]
    pub tls_cert: Option<PathBuf>,
    /// File with its key (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert", env = "CELLSPACE_TLS_KEY")]
    pub tls_key: Option<PathBuf>,
    #[command(flatten)]
    pub trust: TrustArgs,
    /// Where the public listener is reached from outside [default: http://localhost:PORT, with a certificate https]. Part of the data (DIDs contain it): kept from the
    /// first start, another one is refused.
    #[arg(long, value_name = "URL", env = "CELLSPACE_PUBLIC_URL")]
    pub public_url: Option<Url>,
    /// Where the admin listener is reached from outside [default: http://localhost:PORT+1, with a certificate https]. Kept like the public one.
    #[arg(long, value_name = "URL", env = "CELLSPACE_ADMIN_URL")]
    pub admin_url: Option<Url>,
    /// Listen on other addresses than loopback although requests are not encrypted here; a proxy in front must do that.
    #[arg(long)]
    pub allow_plain_http: bool,
    /// Whether counterparties may have loopback or private addresses and plain HTTP [default: true with a loopback public URL].
    #[arg(long, value_name = "BOOL")]
    pub allow_private_targets: Option<bool>,
    /// Name of the cell that this node runs.
    #[arg(long, value_name = "NAME", default_value = "cell-1", value_parser = cell_name, env = "CELLSPACE_CELL")]
    pub cell: String,
    /// Id of the one participant context that this installation is there for. Its things are then also served without naming it: Management API v4, at
    /// /api/mgmt/v4 and /api/management/v4, and DSP at /api/dsp/2025-1.
    #[arg(long, value_name = "ID", env = "CELLSPACE_SINGLE_PARTICIPANT")]
    pub single_participant: Option<ParticipantContextId>,
    /// Every participant uses all dataspace profiles of the installation, whatever it is associated with.
    #[arg(long, env = "CELLSPACE_EVERY_PROFILE", value_parser = BoolishValueParser::new())]
    pub every_profile: bool,
    /// Accept access tokens of this issuer too: its `iss` claim, the URL of its JWKS, and the audience that its tokens must name in `aud` or
    /// `azp`. Without an audience every token of the issuer is taken, also one for another application: leave it out only for an issuer that
    /// serves this installation alone. Its tokens may say `role` (admin, provisioner, participant) and `participant_context_id` in place of
    /// scopes, and may be exchanged by a client named as their `sub`. May be repeated.
    #[arg(long = "issuer", value_name = "ISS=JWKS_URL[,AUDIENCE]", value_parser = issuer)]
    pub issuers: Vec<IssuerConfig>,
    /// Oldest status list that is relied on, and how long verifiers may keep those of issuers hosted here: how soon a revocation takes effect.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub status_list_age: Duration,
    /// What counterparties may do otherwise than the specifications say, several times if need be; nothing without it.
    #[arg(long = "tolerate", value_name = "WHAT")]
    pub tolerated: Vec<Tolerated>,
    /// Bits of the status lists of issuers hosted here, one per credential: a power of two from 131072 to 8388608.
    #[arg(long, value_name = "BITS", default_value = "131072", value_parser = list_bits)]
    pub status_list_bits: ListBits,
    /// An agent unused for so long leaves memory.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration)]
    pub idle_after: Duration,
    #[command(flatten)]
    pub master_key: MasterKeyArgs,
    #[command(flatten)]
    pub vault: VaultArgs,
    #[command(flatten)]
    pub store: StoreArgs,
    #[command(flatten)]
    pub events: EventsArgs,
}

/// What of a counterparty is tolerated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Tolerated {
    /// DID documents that state no verification relationship at all
    Relationships,
    /// Credentials whose JWT names another id than they have themselves; their own counts
    Ids,
    /// Credentials that name schemas, at which nobody looks
    Schemas,
    /// Status lists with fewer than 131072 entries
    Lists,
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| DURATION.to_owned())
}

/// By the rule of certificates, in which it stands beside a node's name.
pub(super) fn cell_name(text: &str) -> Result<String, String> {
    PeerName::new(text, &NodeName("node".to_owned())).map(|name| name.cell().to_owned()).map_err(|error| error.to_string())
}

fn list_bits(text: &str) -> Result<ListBits, String> {
    let bits = text.parse().ok().and_then(ListBits::new);
    bits.ok_or_else(|| "expected a power of two from 131072 to 8388608".to_owned())
}

fn issuer(text: &str) -> Result<IssuerConfig, String> {
    // The issuer may hold an equals sign of its own, a JWKS URL hardly.
    let (issuer, rest) = text.rsplit_once('=').ok_or("expected ISS=JWKS_URL[,AUDIENCE]")?;
    let (jwks, audience) = rest.split_once(',').map_or((rest, None), |(jwks, audience)| (jwks, Some(audience)));
    if audience == Some("") {
        return Err("the audience is empty".to_owned());
    }
    let jwks = jwks.parse().map_err(|e| format!("{jwks}: {e}"))?;
    Ok(IssuerConfig { issuer: issuer.to_owned(), jwks, audience: audience.map(str::to_owned) })
}

impl Settings {
    /// The node's configuration.
    ///
    /// # Errors
    /// When the password cannot be read.
    pub fn config(&self, data: &DataArgs) -> anyhow::Result<NodeConfig> {
        let mut config = NodeConfig {
            master_key: self.master_key.source(),
            vault: self.vault.options(),
            host: self.host,
            ports: match self.port {
                None => Ports::Remembered,
                Some(0) => Ports::Free,
                Some(base) => Ports::Base(base),
            },
            tls: self.tls_cert.clone().zip(self.tls_key.clone()).map(|(certificate, key)| TlsFiles { certificate, key }),
            authorities: self.trust.ca_file.clone(),
            allow_plain_http: self.allow_plain_http,
            public_url: self.public_url.clone(),
            admin_url: self.admin_url.clone(),
            cell: self.cell.clone(),
            single_participant: self.single_participant.clone(),
            every_profile: self.every_profile,
            issuers: self.issuers.clone(),
            allow_private_targets: self.allow_private_targets,
            status_list_age: self.status_list_age,
            status_list_bits: self.status_list_bits,
            ..NodeConfig::new(&data.data_dir)
        };
        config.cluster.idle_after = self.idle_after;
        let tolerated = |what| self.tolerated.contains(&what);
        config.trust.lenient_relationships = tolerated(Tolerated::Relationships);
        config.trust.lenient_ids = tolerated(Tolerated::Ids);
        config.trust.lenient_schemas = tolerated(Tolerated::Schemas);
        config.trust.lenient_lists = tolerated(Tolerated::Lists);
        config.scylla = self.store.options()?;
        config.kafka = self.events.options();
        Ok(config)
    }
}
