//! The roles of the Decentralized Claims Protocol. The suite plays the other parties, with DIDs and keys of its own; what of its messages and
//! documents is of an earlier level than the specification is met by choices of the node's configuration ([`of_the_suites_level`]).

mod door;
mod holder;
mod issuer;
mod suites_issuer;
mod verifier;

pub use holder::holder;
pub use issuer::issuer;
pub use verifier::verifier;

use crate::{
    free_port,
    operator::Operator,
    platform::{CellArgs, Platform},
    properties,
    proxy::{Proxy, serve},
};
use anyhow::Result;
use cellspace::NodeConfig;
use cellspace_actors::DcpOptions;
use cellspace_schemas::Did;
use door::Door;
use reqwest::Method;
use serde_json::{Value, json};
use std::{path::Path, sync::Arc, time::Duration};

/// Credential types of the suite.
const TYPES: [&str; 2] = ["MembershipCredential", "SensitiveDataCredential"];
/// How all its credentials are written.
const FORMAT: &str = "VC1_0_JWT";
/// Longer than a run. Outside a running test the suite's DIDs are not found, while its keys stay the same.
const RUN: Duration = Duration::from_secs(3600);

/// A platform on which no participant is yet.
struct Stage {
    platform: Platform,
    operator: Operator,
    /// Its public address.
    front: String,
    /// Port of the suite's own server.
    suite: u16,
}

/// What of the suite's level is a choice of the node's configuration.
pub fn of_the_suites_level(config: &mut NodeConfig) {
    // DID documents without verification relationships; credentials whose JWT has an id of its own.
    config.trust.lenient_relationships = true;
    config.trust.lenient_ids = true;
    // Each test is another holder under the same DID.
    config.trust.presentation_age = Duration::ZERO;
    config.trust.did_document_age = RUN;
    config.dcp = DcpOptions { format_names: true, refuse_beyond_grant: true, single_status: true };
}

impl Stage {
    async fn new(port: u16, dir: &Path, cell: &CellArgs) -> Result<Self> {
        let (platform, listener) = Platform::behind(port, dir, cell, of_the_suites_level).await?;
        let operator = Operator::of(&platform).await?;
        tokio::spawn(serve(Arc::new(Door::new(&platform, Proxy::new()?)), listener, true));
        let front = platform.urls.public("");
        Ok(Self { platform, operator, front, suite: free_port().await? })
    }

    /// DID of one of the suite's parties.
    fn did_of(&self, party: &str) -> Result<Did> {
        Ok(Did::new(format!("did:web:localhost%3A{}:{party}", self.suite))?)
    }

    /// Makes the participant under test, with a P-256 key and a service of this type; answers its DID and its secrets.
    async fn participant(&self, id: &str, service: &str, endpoint: String) -> Result<(Did, Value)> {
        let did = Did::new(format!("did:web:{}:{id}", self.platform.urls.did_host()))?;
        let key = json!({"keyId": "key-1", "privateKeyAlias": "key-1", "keyGeneratorParams": {"algorithm": "EC", "curve": "secp256r1"}});
        let identity = json!({"participantContextId": id, "did": did, "active": true, "provisionStsAccount": true, "key": key,
            "serviceEndpoints": [{"id": "service", "type": service, "serviceEndpoint": endpoint}]});
        Ok((did, self.operator.call(Method::POST, "/api/identity/v1beta/participants", Some(&identity)).await?))
    }

    /// The suite's properties for a participant in this role.
    fn ready(self, role: &str, did: &Did, more: &[(&str, &str)]) -> (Platform, String) {
        let properties = properties::dcp(self.suite, role, did, more);
        (self.platform, properties)
    }
}
