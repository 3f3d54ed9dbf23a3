//! One node over the embedded backends, without listeners.

use cellspace_actors::{
    DcpOptions, OutboundHttp, PublicUrls, Services,
    access::TokenIssuer,
    control_plane::{self, ControlPlane, dsp::AtOnce, participant::NewParticipant},
    data_plane::{
        self, Command, DataPlane, DataPlaneState, Flow, FlowSignal, Pull, PullError, Pulled, Refusal, Reply, address, usage::Amount,
    },
    fabric::Backlog,
    name::Name,
    outbound::OutboundOptions,
    settings::SettingsCache,
    trust::{Trust, TrustOptions},
};
use cellspace_cluster::{Address, AskError, Call, Clock, Cluster, Options, SystemClock};
use cellspace_schemas::{
    Did, ParticipantContextId, SourceName, TransferId,
    dps::{DataAddress, DataFlowPrepareMessage, DataFlowStartMessage},
    management::ParticipantContextState,
};
use cellspace_storage::{EmbeddedOptions, EmbeddedStore, EmbeddedVault, MasterKey, OpenError, Vault};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Value, json};
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

pub const PROVIDER: &str = "acme";
pub const CONSUMER: &str = "globex";

pub struct Node {
    pub services: Services,
    pub store: EmbeddedStore,
}

pub fn did(participant: &str) -> String {
    format!("did:web:localhost%3A8080:{participant}")
}

pub fn participant(id: &str) -> ParticipantContextId {
    id.parse().unwrap()
}

pub fn flow_id(id: &str) -> TransferId {
    id.parse().unwrap()
}

/// Opens what tasks of an earlier node of this process may still be letting go of.
async fn unlocked<T>(open: impl Fn() -> Result<T, OpenError>) -> T {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        match open() {
            Err(OpenError::Locked { .. }) if Instant::now() < until => tokio::task::yield_now().await,
            opened => return opened.unwrap(),
        }
    }
}

impl Node {
    /// A node in the directory, with two participants.
    pub async fn start(dir: &Path) -> Self {
        Self::start_with(dir, true).await
    }

    /// As [`Node::start`]; `allow_private`: whether sources may be within the own networks.
    pub async fn start_with(dir: &Path, allow_private: bool) -> Self {
        Self::start_at(dir, allow_private, Arc::new(SystemClock)).await
    }

    /// As [`Node::start_with`], by another clock.
    pub async fn start_at(dir: &Path, allow_private: bool, clock: Arc<dyn Clock>) -> Self {
        let store = unlocked(|| EmbeddedStore::open(dir, EmbeddedOptions::default())).await;
        let vault: Arc<dyn Vault> = Arc::new(unlocked(|| EmbeddedVault::open(dir, &MasterKey::File(dir.join("master.key")))).await);
        let cluster = Cluster::new(Arc::new(store.clone()), Arc::new(store.clone()), clock, Options::default());
        let http = OutboundHttp::new(OutboundOptions { allow_private, ..OutboundOptions::default() }).unwrap();
        let urls = PublicUrls { public: "http://localhost:8080".parse().unwrap(), admin: "http://localhost:8081".parse().unwrap() };
        let services = Services {
            own: http.clone(),
            cluster: cluster.clone(),
            cell: "cell-1".into(),
            tokens: Arc::new(TokenIssuer::open(vault.clone(), "http://localhost:8081".into()).await.unwrap()),
            vault,
            events: Arc::new(store.clone()),
            trust: Arc::new(Trust::new(Arc::new(http.clone()), TrustOptions::default())),
            http,
            dcp: DcpOptions::default(),
            urls: Arc::new(urls),
            settings: SettingsCache::default(),
            workers: Arc::default(),
            backlog: Backlog::default(),
            status_lists: Arc::default(),
        };
        cluster.register(Arc::new(ControlPlane::new(services.clone(), Arc::new(AtOnce))));
        cluster.register(Arc::new(DataPlane::new(services.clone())));
        cluster.register(Arc::new(Name::new(services.clone())));
        cluster.start().await.unwrap();
        let node = Self { services, store };
        for id in [PROVIDER, CONSUMER] {
            node.participant(id, ParticipantContextState::Activated).await;
        }
        node
    }

    /// Makes the participant, or gives it this state.
    pub async fn participant(&self, id: &str, state: ParticipantContextState) {
        let new = NewParticipant { id: participant(id), identity: Did::new(did(id)).unwrap(), state, properties: serde_json::Map::new() };
        let address = Address::of::<ControlPlane>(&participant(id));
        let known = self.services.cluster.exists(&address).await.unwrap();
        let command =
            if known { control_plane::participant::Command::Update(new) } else { control_plane::participant::Command::Create(new) };
        self.services.cluster.ask::<ControlPlane>(&address, command.into(), Call::by("test")).await.unwrap();
    }

    /// Removes the participant for good.
    pub async fn delete(&self, id: &str) {
        let address = Address::of::<ControlPlane>(&participant(id));
        let delete = control_plane::participant::Command::Delete;
        self.services.cluster.ask::<ControlPlane>(&address, delete.into(), Call::by("test")).await.unwrap();
    }

    /// Something of the data plane's state.
    pub async fn state<T>(&self, owner: &str, read: impl FnOnce(&DataPlaneState) -> T) -> T {
        self.services.cluster.read::<DataPlane, _>(&Address::of::<DataPlane>(&participant(owner)), read).await.unwrap()
    }

    /// What went through a flow of the provider so far.
    pub async fn usage(&self, flow: &str) -> Amount {
        self.state(PROVIDER, |state| state.usage.get(&flow_id(flow)).copied().unwrap_or_default()).await
    }

    /// Waits until what went through the flow is as asked for.
    pub async fn counted(&self, flow: &str, asked: impl Fn(&Amount) -> bool) -> Amount {
        let agent = Address::of::<DataPlane>(&participant(PROVIDER));
        let found = |state: &DataPlaneState| state.usage.get(&flow_id(flow)).copied().filter(|usage| asked(usage));
        self.services.cluster.wait::<DataPlane, _>(&agent, Duration::from_secs(30), found).await.unwrap().unwrap()
    }

    pub async fn stop(self) {
        self.services.cluster.drain(Duration::from_secs(5)).await;
        let store = self.store.clone();
        tokio::task::spawn_blocking(move || store.close()).await.unwrap();
    }

    pub async fn ask(&self, owner: &str, command: Command) -> Result<Reply, Refusal> {
        let address = Address::of::<DataPlane>(&participant(owner));
        match self.services.cluster.ask::<DataPlane>(&address, command, Call::by("test")).await {
            Ok(reply) => Ok(reply),
            Err(AskError::Refused(refusal)) => Err(refusal),
            Err(error) => panic!("{error}"),
        }
    }

    /// Stores a source of the provider.
    pub async fn source(&self, name: &str, document: Value) -> Result<Reply, Refusal> {
        let name: SourceName = name.parse().unwrap();
        self.ask(PROVIDER, Command::PutSource { name, document: Box::new(serde_json::from_value(document).unwrap()) }).await
    }

    pub async fn begin(&self, flow: &str, message: &str, source: &str) -> Result<Reply, Refusal> {
        let mut body = base(PROVIDER, CONSUMER, flow, message);
        body["metadata"] = json!({"source": source});
        let message: DataFlowStartMessage = serde_json::from_value(body).unwrap();
        self.ask(PROVIDER, Command::Start(Box::new(message))).await
    }

    /// Starts a flow of the provider from the source and returns its access token.
    pub async fn running(&self, flow: &str, source: &str) -> String {
        let Reply::Flow(flow) = self.begin(flow, "m-1", source).await.unwrap() else { panic!("no flow") };
        self.token(&flow).await
    }

    pub async fn token(&self, flow: &Flow) -> String {
        let address = self.offered(flow).await.unwrap();
        address.property("authorization").unwrap().to_owned()
    }

    pub async fn offered(&self, flow: &Flow) -> Option<DataAddress> {
        address::offered(&self.services, &participant(PROVIDER), flow).await.unwrap()
    }

    pub async fn prepare(&self, flow: &str, message: &str) -> Result<Reply, Refusal> {
        let message: DataFlowPrepareMessage = serde_json::from_value(base(CONSUMER, PROVIDER, flow, message)).unwrap();
        self.ask(CONSUMER, Command::Prepare(Box::new(message))).await
    }

    pub async fn signal(&self, owner: &str, flow: &str, message: &str, signal: FlowSignal) -> Result<Arc<Flow>, Refusal> {
        let command = Command::Signal { flow: flow_id(flow), message: Some(message.parse().unwrap()), signal };
        match self.ask(owner, command).await? {
            Reply::Flow(flow) => Ok(flow),
            Reply::Done | Reply::More => panic!("no flow"),
        }
    }

    pub async fn pull(&self, flow: &str, token: Option<&str>, asked: Asked<'_>) -> Result<Pulled, PullError> {
        let mut headers = HeaderMap::new();
        for (name, value) in asked.headers {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let (participant, flow) = (participant(asked.owner), flow_id(flow));
        let pull = Pull {
            participant: &participant,
            flow: &flow,
            method: asked.method,
            path: asked.path,
            query: asked.query,
            headers: &headers,
            token,
            trace: None,
        };
        data_plane::pull(&self.services, pull).await
    }
}

/// What a client asks beside flow and token.
pub struct Asked<'a> {
    pub owner: &'a str,
    pub method: Method,
    pub path: &'a str,
    pub query: Option<&'a str>,
    pub headers: &'a [(&'static str, &'static str)],
}

impl Default for Asked<'_> {
    fn default() -> Self {
        Self { owner: PROVIDER, method: Method::GET, path: "", query: None, headers: &[] }
    }
}

fn base(own: &str, other: &str, flow: &str, message: &str) -> Value {
    json!({"messageId": message, "participantId": did(own), "counterPartyId": did(other), "dataspaceContext": "http-dsp-profile-2025-1",
        "processId": flow, "agreementId": "ag-1", "datasetId": "set-1", "profile": "HttpData-PULL", "claims": {}})
}
