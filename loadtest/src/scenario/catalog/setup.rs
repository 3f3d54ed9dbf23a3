//! Providers with their offers, made through the APIs of the platform.

use super::model::{Access, Model, Offer};
use crate::{
    http::{Answer, Call, Connection},
    subject::Subject,
    world::{MEMBERSHIP, PARTNER, SCOPES, World},
};
use anyhow::{Context, Result, ensure};
use cellspace_client::Client;
use futures::{StreamExt, TryStreamExt, stream};
use http::Method;
use serde_json::{Value, json};
use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};
use tokio::time::sleep;

const MANAGEMENT: &str = "/api/mgmt/v5beta";
/// The first asset of every provider.
const FIRST: &str = "asset-0000";
/// Where somebody would have to be to fulfil a policy that nobody fulfils.
const PLACES: usize = 4;
/// Providers made at once.
const AT_ONCE: usize = 16;

/// The dataspace of a run.
pub struct Dataspace {
    /// Name of its profile; begins the left operands of its policies.
    pub name: String,
    /// Token with all rights.
    pub admin: String,
    /// How long the platform may be away while things are made.
    patience: Option<Duration>,
}

/// A provider.
pub struct Provider {
    /// Participant context id.
    pub context: String,
    /// DID: the audience of messages.
    pub did: String,
    /// Path of its catalog endpoint.
    pub catalog: String,
    /// What it offers.
    pub model: Model,
    /// Held while it is changed.
    pub change: tokio::sync::Mutex<()>,
}

/// A call that must succeed.
pub async fn must(connection: &mut Connection, call: Call) -> Result<Answer> {
    must_within(connection, call, Duration::ZERO).await
}

/// The same of one that is told to come again for so long.
async fn must_within(connection: &mut Connection, call: Call, limit: Duration) -> Result<Answer> {
    let (what, began) = (format!("{} {}", call.method, call.path), Instant::now());
    let mut answer = connection.send(call.clone()).await.with_context(|| what.clone())?;
    while answer.is_shed() && began.elapsed() < limit {
        sleep(answer.come_again()).await;
        answer = connection.send(call.clone()).await.with_context(|| what.clone())?;
    }
    ensure!(answer.status.is_success(), "{what} answered {}", answer.told());
    Ok(answer)
}

impl Dataspace {
    /// A call with all rights.
    pub fn call(&self, method: Method, path: impl Into<String>, body: &Value) -> Call {
        Call::json(method, path, &self.admin, body.to_string())
    }

    /// Makes something; what was answered.
    ///
    /// # Errors
    /// When the platform refuses.
    pub async fn make(&self, connection: &mut Connection, call: Call) -> Result<Answer> {
        let (key, limit) = match self.patience {
            // It is made once, however often it is asked for.
            Some(limit) => (Some(uuid::Uuid::new_v4().to_string()), limit),
            None => (None, Duration::ZERO),
        };
        must_within(connection, Call { key, ..call }, limit).await
    }

    /// Makes the dataspace: profile, scopes, and what the left operands of its policies mean.
    ///
    /// # Errors
    /// When the platform refuses.
    pub async fn open(subject: &Subject, world: &World) -> Result<Self> {
        let (_, admin) = subject.client().await?;
        let name = format!("load-{}", uuid::Uuid::new_v4().simple());
        let space = Self { name, admin: admin.token, patience: subject.patience() };
        let mut connection = Connection::new(&subject.admin, None)?;
        let name = &space.name;
        let profile = Client::typed(
            "DataspaceProfile",
            json!({
                "name": name, "jsonLdContextsUrl": ["https://w3id.org/dspace/2025/1/context.jsonld"],
                "protocol": {"version": "2025-1", "path": format!("/{name}"), "binding": "HTTPS", "namespace": "https://w3id.org/dspace/2025/1/"},
                "trustedIssuers": [{"@id": world.issuer.identity.did, "supportedTypes": [MEMBERSHIP, PARTNER]}],
            }),
        );
        space.make(&mut connection, space.call(Method::POST, format!("{MANAGEMENT}/dataspaceprofiles"), &profile)).await?;
        for (n, (scope, kind)) in SCOPES.into_iter().zip(["DEFAULT", "POLICY"]).enumerate() {
            let mut body = json!({"@id": format!("{name}.{n}"), "type": kind, "value": scope, "profile": name});
            if let ("POLICY", Some(body)) = (kind, body.as_object_mut()) {
                body.insert("prefixMapping".to_owned(), name.as_str().into());
            }
            space
                .make(&mut connection, space.call(Method::POST, format!("{MANAGEMENT}/dcpscopes"), &Client::typed("DcpScope", body)))
                .await?;
        }
        let partner = format!("ctx.agent.claims.vc.withType('{PARTNER}').valid()");
        for (operand, expression) in [
            ("region", format!("{partner}.claim('region') in this.rightOperand")),
            (
                "tier",
                format!(
                    "this.operator == 'EQ' ? {partner}.claim('tier') == this.rightOperand : {partner}.claim('tier') >= this.rightOperand"
                ),
            ),
        ] {
            let body = json!({"@id": format!("{name}.{operand}"), "leftOperand": format!("{name}.{operand}"), "description": operand,
                "expression": expression, "scopes": ["catalog", "contract.negotiation", "transfer.process"]});
            space
                .make(
                    &mut connection,
                    space.call(Method::POST, format!("{MANAGEMENT}/celexpressions"), &Client::typed("CelExpression", body)),
                )
                .await?;
        }
        Ok(space)
    }

    /// The access policy of an offer: two constraints, each of which reads a claim.
    pub fn policy(&self, id: &str, access: Access) -> Value {
        let regions: Vec<String> = access.regions().iter().map(|region| region.text()).collect();
        self.policy_for(id, &regions, access.tier.map_or_else(|| ("gteq", 0), |tier| ("eq", tier)))
    }

    fn policy_for(&self, id: &str, regions: &[String], tier: (&str, u8)) -> Value {
        let constraint = json!([
            {"leftOperand": format!("{}.region", self.name), "operator": "isAnyOf", "rightOperand": regions},
            {"leftOperand": format!("{}.tier", self.name), "operator": tier.0, "rightOperand": tier.1},
        ]);
        Client::typed(
            "PolicyDefinition",
            json!({"@id": id, "policy": {"@type": "Set", "permission": [{"action": "use", "constraint": constraint}]}}),
        )
    }

    /// An asset in a revision.
    pub fn asset(&self, id: &str, revision: u64) -> Value {
        Client::typed(
            "Asset",
            json!({
                "@id": id,
                "properties": {"revision": revision, "name": format!("Data set {id}"), "contenttype": "application/json",
                    "description": "Product carbon footprints of parts, by batch and plant, updated daily"},
                "dataplaneMetadata": {"@type": "DataplaneMetadata", "profiles": ["HttpData-PULL"], "properties": {"source": id}},
            }),
        )
    }

    /// A contract definition.
    pub fn definition(asset: &str, access: &str) -> Value {
        let selector =
            json!({"@type": "Criterion", "operandLeft": "https://w3id.org/edc/v0.0.1/ns/id", "operator": "=", "operandRight": asset});
        Client::typed(
            "ContractDefinition",
            json!({"@id": asset, "accessPolicyId": access, "contractPolicyId": "members", "assetsSelector": [selector]}),
        )
    }

    /// Path of a provider's resource.
    pub fn path(context: &str, resource: &str) -> String {
        format!("{MANAGEMENT}/participants/{context}/{resource}")
    }

    /// DID of a participant context.
    pub fn did(host: &str, context: &str) -> String {
        format!("did:web:{host}:{context}")
    }

    /// Makes a participant context in both APIs, with a key and a DID document.
    ///
    /// # Errors
    /// When the platform refuses.
    pub async fn participant(&self, c: &mut Connection, public: &str, did: &str, context: &str) -> Result<()> {
        let dsp = format!("{public}/api/dsp/{context}/{}", self.name);
        let manifest = json!({
            "participantContextId": context, "did": did, "active": true,
            "serviceEndpoints": [
                {"id": "cs", "type": "CredentialService", "serviceEndpoint": format!("{public}/api/credentials/v1/participants/{context}")},
                {"id": "dsp", "type": "ProtocolEndpoint", "serviceEndpoint": dsp},
            ],
            "key": {"keyId": "key-1", "privateKeyAlias": "key-1", "keyGeneratorParams": {"algorithm": "EdDSA", "curve": "Ed25519"}},
        });
        self.make(c, self.call(Method::POST, "/api/identity/v1beta/participants", &manifest)).await?;
        self.managed(c, did, context).await
    }

    /// Makes a participant context in the Management API alone.
    ///
    /// # Errors
    /// When the platform refuses.
    pub async fn managed(&self, c: &mut Connection, did: &str, context: &str) -> Result<()> {
        let participant = json!({"@id": context, "identity": did, "state": "ACTIVATED", "properties": {}});
        self.make(c, self.call(Method::POST, format!("{MANAGEMENT}/participants"), &Client::typed("ParticipantContext", participant)))
            .await
            .map(drop)
    }

    /// The id of the participant context with this number.
    pub fn context(&self, number: usize) -> String {
        format!("{}-{number}", self.name)
    }

    /// Makes the provider with this number, and so many offers.
    ///
    /// # Errors
    /// When the platform refuses.
    pub async fn provider(&self, subject: &Subject, number: usize, offers: usize) -> Result<Provider> {
        let mut connection = Connection::new(&subject.admin, None)?;
        let c = &mut connection;
        let (context, name) = (self.context(number), &self.name);
        let did = Self::did(&subject.did_host(), &context);
        self.participant(c, &subject.public, &did, &context).await?;
        let profiles = Client::typed("AssociateDataspaceProfile", json!({"profiles": [name]}));
        self.make(c, self.call(Method::PUT, Self::path(&context, "profiles"), &profiles)).await?;
        let plane = json!({"dataplaneId": "plane", "endpoint": format!("{}/api/v1/{context}/dataflows", subject.admin), "transferTypes": ["HttpData-PULL"], "labels": []});
        self.make(c, self.call(Method::PUT, Self::path(&context, "dataplanes"), &plane)).await?;
        let terms =
            Client::typed("PolicyDefinition", json!({"@id": "members", "policy": {"@type": "Set", "permission": [{"action": "use"}]}}));
        self.make(c, self.call(Method::POST, Self::path(&context, "policydefinitions"), &terms)).await?;
        let mut model = Vec::with_capacity(offers);
        for n in 0..offers {
            let (asset, access) = (format!("asset-{n:04}"), Access::of(n, offers));
            self.make(c, self.call(Method::POST, Self::path(&context, "assets"), &self.asset(&asset, 0))).await?;
            self.make(c, self.call(Method::POST, Self::path(&context, "policydefinitions"), &self.policy(&asset, access))).await?;
            self.make(c, self.call(Method::POST, Self::path(&context, "contractdefinitions"), &Self::definition(&asset, &asset))).await?;
            model.push(Offer { policy: asset.clone(), asset, revision: 0, access, id: Arc::new(OnceLock::new()) });
        }
        let catalog = format!("/api/dsp/{context}/{name}/catalog/request");
        Ok(Provider { context, did, catalog, model: Model::new(model), change: tokio::sync::Mutex::new(()) })
    }

    /// Gives a provider so many more definitions, by access policies that nobody fulfils: each of them is judged in every request, and no answer shows any.
    ///
    /// # Errors
    /// When the platform refuses.
    pub async fn judge_more(&self, subject: &Subject, provider: &Provider, count: usize) -> Result<()> {
        let make = |first: usize| async move {
            let mut connection = Connection::new(&subject.admin, None)?;
            for n in (first..count).step_by(AT_ONCE) {
                let id = format!("hidden-{n:04}");
                let places: Vec<String> = (0..PLACES).map(|place| format!("plant-{n}-{place}")).collect();
                let policy = self.policy_for(&id, &places, ("gteq", 0));
                self.make(&mut connection, self.call(Method::POST, Self::path(&provider.context, "policydefinitions"), &policy)).await?;
                // One of an asset that is there: what selects nothing is not judged.
                let mut definition = Self::definition(FIRST, &id);
                definition["@id"] = json!(id);
                self.make(&mut connection, self.call(Method::POST, Self::path(&provider.context, "contractdefinitions"), &definition))
                    .await?;
            }
            anyhow::Ok(())
        };
        futures::future::try_join_all((0..AT_ONCE).map(make)).await?;
        Ok(())
    }

    /// Makes so many providers with so many offers each.
    ///
    /// # Errors
    /// When the platform refuses.
    pub async fn providers(&self, subject: &Subject, providers: usize, offers: usize) -> Result<Vec<Arc<Provider>>> {
        let made = stream::iter(0..providers).map(|number| self.provider(subject, number, offers));
        made.buffered(AT_ONCE).map_ok(Arc::new).try_collect().await
    }
}
