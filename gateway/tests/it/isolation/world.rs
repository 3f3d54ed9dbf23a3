//! Two participants that each have something of every kind, and what nobody has; and everybody who may call.

use super::{
    oracle::{Caller, Standing, Who},
    things::{counterparty, fill},
    unnamed::ONLY,
};
use crate::{
    stage::{SCOPES, Stage, context, did},
    support::{IDENTITY, id_of, text},
};
use cellspace::NodeConfig;
use cellspace_actors::trust;
use cellspace_client::{Client, operator, provider::DATA_SET, sharing, source};
use reqwest::Method;
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};

/// Whose something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    Own,
    Foreign,
    /// Well-formed, and nobody's.
    Nobodys,
}

/// The ids of one kind. What there is only once has no foreign one, and what need not be there has no one that is nobody's.
#[derive(Debug, Clone)]
struct Ids {
    own: String,
    foreign: Option<String>,
    nobodys: Option<String>,
}

pub struct World {
    pub stage: Stage,
    ids: BTreeMap<String, Ids>,
    pub callers: Vec<Caller>,
    /// Where the node is reached that is asked, when that is not the first one: public and admin listener.
    pub entry: Option<[String; 2]>,
    /// Switched off in both APIs, in the Identity API alone, in the Management API alone.
    pub off: [&'static str; 3],
}

/// Nobody's participant context.
pub const NOBODY: &str = "nobody";
const MADE_UP: &str = "3f0c9a52-0000-4000-8000-0000deadbeef";
/// APIs whose things are participants'.
const APIS: [&str; 7] =
    ["management-api", "identity-api", "issuer-admin-api", "siglet-api", "siglet-mgmt-api", "data-plane-api", "signaling-api"];
const FABRIC: [&str; 4] =
    ["tenant-manager-api:read", "tenant-manager-api:write", "provision-manager-api:read", "provision-manager-api:write"];

/// As a segment of a path.
pub fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

pub fn all(action: &str) -> Vec<String> {
    APIS.iter().map(|api| format!("{api}:{action}")).collect()
}

impl World {
    pub async fn open() -> Self {
        Self::on(Stage::with(Self::fresh).await).await
    }

    /// What is changed in a DID document is seen at once.
    pub fn fresh(config: &mut NodeConfig) {
        config.trust.did_document_age = Duration::ZERO;
        config.single_participant = Some(id_of(ONLY));
    }

    /// On this stage.
    pub async fn on(mut stage: Stage) -> Self {
        let data = format!("http://{}/data/footprints.json", source::serve().await.unwrap());
        let slow = counterparty().await;
        let own = fill(&mut stage, Side::Own, &data, &slow).await;
        let foreign = fill(&mut stage, Side::Foreign, &data, &slow).await;
        let mut ids: BTreeMap<String, Ids> = BTreeMap::new();
        for (kind, id) in own {
            let nobodys = match kind {
                // The shape of an id is no reason to refuse it.
                "did" => stage.base.did(NOBODY).to_string(),
                "target" => "did:web:localhost%3A1:nobodys-target".to_owned(),
                _ if uuid::Uuid::parse_str(&id).is_ok() => MADE_UP.to_owned(),
                _ => format!("nobodys-{kind}"),
            };
            // Tenants are the operator's, and no participant's.
            let of_other = (kind != "tenant").then(|| foreign[kind].clone());
            ids.insert(kind.to_owned(), Ids { own: id, foreign: of_other, nobodys: Some(nobodys) });
        }
        // What a call makes, under an id that is free or that only another participant has used.
        for kind in [
            "asset",
            "policy",
            "offer",
            "secret",
            "plane",
            "source",
            "flow",
            "credential",
            "request",
            "holder",
            "attestation",
            "definition",
        ] {
            let made = Ids { own: format!("new-{kind}"), foreign: Some(foreign[kind].clone()), nobodys: None };
            ids.insert(format!("new-{kind}"), made);
        }
        let new_target = "did:web:localhost%3A1:new-target".to_owned();
        ids.insert("new-target".to_owned(), Ids { own: new_target, foreign: Some(foreign["target"].clone()), nobodys: None });
        let mut world = Self { stage, ids, callers: Vec::new(), entry: None, off: ["off", "off-identity", "off-management"] };
        for id in world.off {
            world.switched_off(id).await;
        }
        world.installation(&data).await;
        world.callers = world.everybody().await;
        world
    }

    pub fn context_of(&self, side: Side) -> &str {
        match side {
            Side::Own => &self.stage.consumer.context,
            Side::Foreign => &self.stage.third.context,
            Side::Nobodys => NOBODY,
        }
    }

    pub fn caller(&self, name: &str) -> &Caller {
        self.callers.iter().find(|caller| caller.name == name).unwrap()
    }

    /// The id that `{kind}` stands for.
    pub fn id(&self, kind: &str, side: Side) -> &str {
        let ids = self.ids.get(kind).unwrap_or_else(|| panic!("nothing is known of {kind}"));
        match side {
            Side::Own => &ids.own,
            Side::Foreign => ids.foreign.as_ref().unwrap_or(&ids.own),
            Side::Nobodys => ids.nobodys.as_ref().or(ids.foreign.as_ref()).unwrap_or(&ids.own),
        }
    }

    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.ids.keys().map(String::as_str)
    }

    /// The sides whose ids of a kind differ from one's own.
    pub fn others(&self, kind: &str) -> Vec<Side> {
        let ids = &self.ids[kind];
        let foreign = ids.foreign.as_ref().map(|_| Side::Foreign);
        foreign.into_iter().chain(ids.nobodys.as_ref().map(|_| Side::Nobodys)).collect()
    }

    fn set(&mut self, kind: &str, own: impl Into<String>, foreign: Option<&str>, nobodys: Option<&str>) {
        let ids = Ids { own: own.into(), foreign: foreign.map(str::to_owned), nobodys: nobodys.map(str::to_owned) };
        assert!(self.ids.insert(kind.to_owned(), ids).is_none(), "{kind} twice");
    }

    pub async fn participant(&self, id: &str, name: &str) -> Value {
        let base = &self.stage.base;
        let mut manifest = base.manifest(id, name);
        manifest["provisionStsAccount"] = json!(true);
        let secrets = base.must(Method::POST, &format!("{IDENTITY}/participants"), Some(manifest)).await;
        let body = json!({"@id": id, "identity": base.did(name), "state": "ACTIVATED", "properties": {}});
        base.must(Method::POST, "/api/mgmt/v5beta/participants", Some(Client::typed("ParticipantContext", body))).await;
        secrets
    }

    async fn switched_off(&mut self, id: &'static str) {
        let secrets = self.participant(id, id).await;
        let base = &self.stage.base;
        let profiles = Client::typed("AssociateDataspaceProfile", json!({"profiles": [sharing::PROFILE]}));
        base.must(Method::PUT, &format!("/api/mgmt/v5beta/participants/{id}/profiles"), Some(profiles)).await;
        if id != "off-management" {
            base.must(Method::POST, &format!("{IDENTITY}/participants/{id}/state?isActive=false"), None).await;
        }
        if id != "off-identity" {
            let body = json!({"identity": base.did(id), "state": "DEACTIVATED", "properties": {}});
            let body = Client::typed("ParticipantContext", body);
            base.must(Method::PUT, &format!("/api/mgmt/v5beta/participants/{id}"), Some(body)).await;
        }
        if id == "off" {
            let account = self.participant("account", "deep").await;
            self.set("sts-client", "account", Some("off"), Some("nobodys-account"));
            self.set("sts-client.secret", text(&account, "clientSecret"), Some(&text(&secrets, "clientSecret")), None);
        }
    }

    /// What is the installation's, and what stands in bodies.
    async fn installation(&mut self, data: &str) {
        for (n, name) in ["deep:first", "deep:first:second", "deep:first:second:third"].iter().enumerate() {
            let manifest = self.stage.base.manifest(&format!("deep-{n}"), name);
            self.stage.base.must(Method::POST, &format!("{IDENTITY}/participants"), Some(manifest)).await;
        }
        let mut manifest = self.stage.base.manifest("root", "root");
        manifest["did"] = json!(format!("did:web:{}", self.stage.base.node.urls.did_host()));
        self.stage.base.must(Method::POST, &format!("{IDENTITY}/participants"), Some(manifest)).await;
        for (kind, id, other) in
            [("did-a", "deep", Some("off")), ("did-b", "first", None), ("did-c", "second", None), ("did-d", "third", None)]
        {
            self.set(kind, id, other, Some("nowhere"));
        }
        self.set("list", "bssl-revocation-1", None, Some("bssl-revocation-99"));
        self.set("issued-definition", "membership-credential-def", None, Some("no-definition"));

        let base = &self.stage.base;
        let made = async |path: &str, body: Value| base.must(Method::POST, path, Some(body)).await;
        let secret = base.client(json!({"id": "own-client", "role": "participant", "participantContext": "account", "scopes": []})).await;
        base.client(json!({"id": "other-client", "role": "participant", "participantContext": "off", "scopes": []})).await;
        made("/api/v1/mappings", json!({"clientIdentifier": "own-mapped", "participantContext": "account", "scopes": []})).await;
        made("/api/v1/scopes", json!({"scope": "own-tier", "claims": {"scope": "management-api:read"}})).await;
        let expression =
            json!({"@id": "own-expression", "leftOperand": "Own", "expression": "true", "description": "x", "scopes": ["catalog"]});
        made("/api/mgmt/v5beta/celexpressions", Client::typed("CelExpression", expression)).await;
        let scope = json!({"@id": "own-dcp-scope", "value": "org.eclipse.dspace.dcp.vc.type:Own:read", "profile": "own-profile"});
        made("/api/mgmt/v5beta/dcpscopes", Client::typed("DcpScope", scope)).await;
        let profile =
            json!({"name": "own-profile", "protocol": {"version": "2025-1", "path": "/own-profile", "binding": "HTTPS", "namespace": "n"}});
        made("/api/mgmt/v5beta/dataspaceprofiles", Client::typed("DataspaceProfile", profile)).await;
        let common = "did:web:localhost%3A1:common-target";
        made("/api/mgmt/v5beta/targetnodes", Client::typed("TargetNode", json!({"@id": common}))).await;
        let cell = text(&made("/api/tm/cells", json!({"state": "locked"})).await, "id");
        let dataspace = text(&made("/api/tm/dataspace-profiles", json!({"properties": {"name": "own"}})).await, "id");
        let tenant = text(&made("/api/tm/tenants", json!({"properties": {"name": "own"}})).await, "id");
        made("/api/pm/activity-definitions", json!({"type": "own-activity", "description": "x"})).await;
        for (id, kind) in [("own-template", "own-audit"), ("own-spare-template", "own-spare-audit")] {
            let activities = json!({kind: [{"id": "a", "type": "jwtlet-activity"}]});
            made("/api/pm/orchestration-definitions", json!({"id": id, "description": "x", "activities": activities})).await;
        }
        let orchestrations = made("/api/pm/orchestrations/query", json!({"predicate": "true"})).await;
        let orchestration = text(&orchestrations[0], "id");

        let stage = &self.stage;
        let fixed = [
            ("client-secret", secret),
            ("sts-secret", self.id("sts-client.secret", Side::Own).to_owned()),
            ("peer-did", stage.provider.did.clone()),
            ("peer-dsp", stage.provider.dsp.clone()),
            ("issuer-did", stage.platform.issuer_did.clone()),
            ("source-url", data.to_owned()),
            ("cell", stage.platform.cell.clone()),
            ("dataflows", stage.node().urls.dataflows(&context(&stage.consumer)).to_string()),
            ("data-path", "deeper".to_owned()),
            ("api-name", "management".to_owned()),
            ("any-client", "no-client".to_owned()),
            ("agent-owner", stage.consumer.context.clone()),
        ];
        let made_up = [
            ("client", "own-client".to_owned()),
            ("mapped-client", "own-mapped".to_owned()),
            ("mapped-context", "account".to_owned()),
            ("tier", "own-tier".to_owned()),
            ("expression", "own-expression".to_owned()),
            ("dcp-scope", "own-dcp-scope".to_owned()),
            ("dsp-profile", "own-profile".to_owned()),
            ("agent-kind", "control-plane".to_owned()),
            ("letter", MADE_UP.to_owned()),
            ("node", MADE_UP.to_owned()),
            ("dataspace", stage.platform.dataspace.clone()),
            ("spare-cell", cell),
            ("spare-dataspace", dataspace),
            ("spare-tenant", tenant),
            ("spare-activity", "own-activity".to_owned()),
            ("template", "own-template".to_owned()),
            ("spare-template", "own-spare-template".to_owned()),
            ("orchestration", orchestration),
        ];
        self.set("common-target", common, None, Some("did:web:localhost%3A1:nobodys-common-target"));
        for (kind, id) in fixed {
            self.set(kind, id, None, None);
        }
        for (kind, id) in made_up {
            self.set(kind, id, None, Some(&format!("nobodys-{kind}")));
        }
        let (own, foreign) = (self.context_of(Side::Own).to_owned(), self.context_of(Side::Foreign).to_owned());
        self.set("dataset", DATA_SET, Some("foreign-asset"), Some("nobodys-dataset"));
        self.set("participant", own, Some(&foreign), Some(NOBODY));
    }

    /// Somebody with a token from a client of its own.
    pub async fn client(&self, name: &'static str, role: &str, who: Who, scopes: Vec<String>) -> Caller {
        let client = name.replace([' ', ','], "-");
        let mut body = json!({"id": client, "role": role, "scopes": scopes});
        if let Who::Participant(id, _) = &who {
            body["participantContext"] = json!(id);
        }
        let secret = self.stage.base.client(body).await;
        Caller { name, token: Some(self.stage.base.token_of(&client, &secret).await), who, scopes }
    }

    async fn everybody(&self) -> Vec<Caller> {
        let base = &self.stage.base;
        let (own, foreign) = (self.context_of(Side::Own), self.context_of(Side::Foreign));
        let with_fabric = |mut scopes: Vec<String>| {
            scopes.extend(FABRIC.map(str::to_owned));
            scopes
        };
        let operators: Vec<String> =
            all("admin").into_iter().chain(["token-service-api:admin".into(), "runtime-api:admin".into()]).collect();
        let but = |prefix: &str| all("write").into_iter().filter(|scope| !scope.starts_with(prefix)).collect::<Vec<_>>();
        let mut callers = Vec::new();
        let participant = |id: &str, standing| Who::Participant(id.to_owned(), standing);
        for (name, role, who, scopes) in [
            ("admin", "admin", Who::Admin, with_fabric(operators.clone())),
            ("provisioner", "provisioner", Who::Provisioner(None), with_fabric(operators.clone())),
            ("provisioner without scopes", "provisioner", Who::Provisioner(None), Vec::new()),
            ("own", "participant", participant(own, Standing::Active), all("write")),
            ("own, as admin", "participant", participant(own, Standing::Active), all("admin")),
            ("own, reading", "participant", participant(own, Standing::Active), all("read")),
            ("own, but for management", "participant", participant(own, Standing::Active), but("management-api")),
            ("own, management alone", "participant", participant(own, Standing::Active), vec!["management-api:write".into()]),
            ("foreign", "participant", participant(foreign, Standing::Active), all("write")),
            ("foreign, as admin", "participant", participant(foreign, Standing::Active), all("admin")),
            ("absent", "participant", participant(NOBODY, Standing::Absent), all("write")),
            ("off", "participant", participant(self.off[0], Standing::Off), all("write")),
            ("off in identity", "participant", participant(self.off[1], Standing::Off), all("write")),
            ("off in management", "participant", participant(self.off[2], Standing::Off), all("write")),
        ] {
            callers.push(self.client(name, role, who, scopes).await);
        }
        // Agents, whose tokens are exchanged for one participant context.
        let secret = base.client(json!({"id": "agents", "role": "provisioner", "mayExchange": true})).await;
        let subject = base.token_of("agents", &secret).await;
        for (name, id) in [("agent of own", own), ("agent of foreign", foreign)] {
            let scopes = with_fabric(all("admin"));
            let mapping = json!({"clientIdentifier": "agents", "participantContext": id, "scopes": scopes});
            base.must(Method::POST, "/api/v1/mappings", Some(mapping)).await;
            let form =
                [("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"), ("subject_token", subject.as_str()), ("resource", id)];
            let granted: Value = base.form("/token", &form).await.json().await.unwrap();
            callers.push(Caller { name, token: Some(text(&granted, "access_token")), who: Who::Provisioner(Some(id.to_owned())), scopes });
        }
        // An application of the participant's: the token names no role.
        let apps = ["management-api", "identity-api", "issuer-admin-api", "siglet-api", "siglet-mgmt-api"];
        for (name, of) in [("own application", &self.stage.consumer), ("foreign application", &self.stage.third)] {
            let scopes = apps.iter().map(|api| format!("{api}:write")).collect();
            callers.push(Caller { name, token: Some(of.caller.token.clone()), who: participant(&of.context, Standing::Active), scopes });
        }
        let good = callers.iter().find(|caller| caller.name == "own").and_then(|caller| caller.token.clone()).unwrap();
        let (signed, signature) = good.rsplit_once('.').unwrap();
        let forged: String = signature.chars().rev().collect();
        let stage = &self.stage;
        let peer = trust::self_issued_token(
            stage.base.services_of(&context(&stage.consumer)),
            &context(&stage.consumer),
            &did(&stage.provider),
            &[],
        )
        .await
        .unwrap();
        let none = |name, token| Caller { name, token, who: Who::Nobody, scopes: Vec::new() };
        callers.push(none("without a token", None));
        callers.push(none("with rubbish", Some("rubbish".to_owned())));
        callers.push(none("with another signature", Some(format!("{signed}.{forged}"))));
        callers.push(none("with a peer's token", Some(peer)));
        callers
    }
}

/// Names of roles in exchanges of the public listener.
#[derive(Debug, Clone, Copy)]
pub struct Cast<'a> {
    pub receiver: &'a str,
    pub receiver_did: &'a str,
    pub sender: &'a str,
}

impl World {
    /// Who sends to whom on a route of the public listener.
    pub fn cast(&self, prefix: &str, path: &str) -> Cast<'_> {
        let stage = &self.stage;
        let (own, peer) = (&stage.consumer, &stage.provider);
        let issuer = (operator::ISSUER, stage.platform.issuer_did.as_str());
        let (receiver, sender) = if ["/api/issuance/v1beta", "/statuslist"].contains(&prefix) {
            (issuer, own.context.as_str())
        } else if path.ends_with("/presentations/query") {
            ((own.context.as_str(), own.did.as_str()), peer.context.as_str())
        } else if prefix == "/api/credentials/v1" {
            ((own.context.as_str(), own.did.as_str()), issuer.0)
        } else {
            ((peer.context.as_str(), peer.did.as_str()), own.context.as_str())
        };
        Cast { receiver: receiver.0, receiver_did: receiver.1, sender }
    }

    /// A token of the sender for `audience`, as the route's protocol wants it.
    pub async fn peer_token(&self, prefix: &str, path: &str, audience: &str) -> String {
        let (sender, audience) = (id_of(self.cast(prefix, path).sender), audience.parse().unwrap());
        let services = self.stage.base.services_of(&sender);
        if path.ends_with("/presentations/query") {
            // The holder grants access first.
            let stage = &self.stage;
            let granting = stage.token(&stage.consumer, &stage.provider).await;
            let access = crate::identity::claims(&granting)["token"].as_str().unwrap().to_owned();
            return trust::token_with_access(services, &sender, &audience, Some(&access)).await.unwrap();
        }
        let scopes = SCOPES.map(str::to_owned);
        trust::self_issued_token(services, &sender, &audience, &scopes).await.unwrap()
    }
}
