//! Where the script asks the agents of the platform under test, in whichever of its processes they are: each process has a desk on loopback, which takes the product's
//! commands and tells how processes stand. One that does not serve the participant says so, and the next one is asked.

use crate::{
    participant::CONTEXT,
    proxy::{self, Answer, Door, plain},
};
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use cellspace_actors::{
    Services,
    control_plane::{
        ControlPlane, ControlPlaneState, agent,
        dsp::Role,
        negotiation::{self, Negotiation},
        transfer::{self, Transfer},
    },
};
use cellspace_cluster::{Address, AskError, Call, IdempotencyKey};
use cellspace_schemas::{AgreementId, AssetId, NegotiationId, ParticipantContextId, TransferId};
use http::{Request, StatusCode};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    collections::HashSet,
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{net::TcpListener, time::Instant};

/// In the data directory of a process: the URL of its desk.
const FILE: &str = "desk";
/// How long the participant may be served nowhere.
const AWAY: Duration = Duration::from_secs(30);
/// Before all processes are asked again.
const AGAIN: Duration = Duration::from_millis(50);

/// What is asked of the participant's control plane.
#[derive(Debug, Serialize, Deserialize)]
pub enum Question {
    /// A command; the same key is the same command.
    Do { key: String, command: Box<agent::Command> },
    /// A negotiation, as soon as it is in this state or over.
    Negotiation { id: NegotiationId, state: negotiation::State },
    /// The same of a transfer.
    Transfer { id: TransferId, state: transfer::State },
    /// What others have begun beside what is known, as soon as there is something.
    Begun { known: HashSet<String> },
}

/// What was waited for, or how it went past that.
#[derive(Debug, Serialize, Deserialize)]
pub enum Reached<T> {
    At(T),
    Past(String),
}

/// What has begun with us as provider.
#[derive(Debug, Serialize, Deserialize)]
pub enum Begun {
    Negotiation(NegotiationId, AssetId),
    Transfer(TransferId, AgreementId),
}

impl Begun {
    /// The id of the process.
    pub fn id(&self) -> String {
        match self {
            Self::Negotiation(id, _) => id.to_string(),
            Self::Transfer(id, _) => id.to_string(),
        }
    }
}

/// The desk of one process.
struct Desk {
    services: Arc<Services>,
    address: Address,
}

/// Opens the desk of a process, for as long as it runs; its data directory says where.
pub async fn open(services: Arc<Services>, dir: &Path) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let address = Address::of::<ControlPlane>(&CONTEXT.parse::<ParticipantContextId>()?);
    tokio::spawn(proxy::serve(Arc::new(Desk { services, address }), listener, false));
    // Read while it is written: whole or not at all.
    fs::create_dir_all(dir)?;
    let new = dir.join("desk.new");
    fs::write(&new, url)?;
    fs::rename(new, dir.join(FILE)).context("the desk's address cannot be written")
}

type Answered<T> = Result<T, AskError<agent::Refusal>>;

impl Door for Desk {
    async fn answer(&self, request: Request<Bytes>) -> Result<Answer> {
        match serde_json::from_slice(request.body())? {
            Question::Do { key, command } => {
                let call = Call { idempotency: IdempotencyKey::parse(&key), ..Call::by("conformance") };
                said(self.services.cluster.ask::<ControlPlane>(&self.address, *command, call).await)
            }
            Question::Negotiation { id, state } => {
                let told = |n: &Negotiation| (n.state == state, n.state.is_final(), format!("{:?}: {:?}", n.state, n.error_detail));
                said(self.watch(|all| reached(all.negotiations.get(&id).map(|n| &**n), told)).await)
            }
            Question::Transfer { id, state } => {
                let told = |t: &Transfer| (t.state == state, t.state.is_final(), format!("{:?}", t.state));
                said(self.watch(|all| reached(all.transfers.get(&id).map(|t| &**t), told)).await)
            }
            Question::Begun { known } => said(self.watch(|all| Some(begun(all, &known)).filter(|begun| !begun.is_empty())).await),
        }
    }
}

impl Desk {
    async fn watch<T>(&self, query: impl FnMut(&ControlPlaneState) -> Option<T>) -> Answered<T> {
        self.services.cluster.watch::<ControlPlane, T>(&self.address, query).await
    }
}

fn said<T: Serialize>(answer: Answered<T>) -> Result<Answer> {
    Ok(match answer {
        Ok(found) => plain(StatusCode::OK, serde_json::to_vec(&found)?),
        Err(AskError::Refused(_) | AskError::KeyReused) => plain(StatusCode::CONFLICT, refused(answer)),
        // Somebody else may serve it, or it is known later what came of it.
        Err(_) => plain(StatusCode::SERVICE_UNAVAILABLE, refused(answer)),
    })
}

fn refused<T>(answer: Answered<T>) -> String {
    answer.err().map(|error| error.to_string()).unwrap_or_default()
}

fn reached<T: Clone>(found: Option<&T>, told: impl Fn(&T) -> (bool, bool, String)) -> Option<Reached<T>> {
    let Some(found) = found else { return Some(Reached::Past("it is gone".to_owned())) };
    match told(found) {
        (true, ..) => Some(Reached::At(found.clone())),
        (false, true, how) => Some(Reached::Past(how)),
        (false, false, _) => None,
    }
}

fn begun(state: &ControlPlaneState, known: &HashSet<String>) -> Vec<Begun> {
    let negotiations = state.negotiations.iter().filter(|n| n.role == Role::Provider);
    let transfers = state.transfers.iter().filter(|t| t.role == Role::Provider);
    let negotiations = negotiations.map(|n| Begun::Negotiation(n.id.clone(), n.offer.target.clone()));
    let all = negotiations.chain(transfers.map(|t| Begun::Transfer(t.id.clone(), t.agreement.clone())));
    all.filter(|begun| !known.contains(&begun.id())).collect()
}

/// The desks of a platform.
#[derive(Clone)]
pub struct Desks {
    /// Data directories of its processes.
    dirs: Vec<PathBuf>,
    http: reqwest::Client,
}

impl Desks {
    /// Of the processes with these data directories.
    pub fn of(dirs: Vec<PathBuf>) -> Result<Self> {
        Ok(Self { dirs, http: reqwest::Client::builder().no_proxy().build()? })
    }

    /// A command to the participant's control plane.
    pub async fn ask(&self, command: impl Into<agent::Command>) -> Result<agent::Reply> {
        let key = uuid::Uuid::new_v4().to_string();
        self.put(&Question::Do { key, command: Box::new(command.into()) }).await
    }

    /// Puts a question until somebody answers it. An answer may take as long as it likes.
    pub async fn put<T: DeserializeOwned>(&self, question: &Question) -> Result<T> {
        let mut asked = Instant::now();
        loop {
            let mut last = "no process has a desk".to_owned();
            for dir in &self.dirs {
                let Ok(url) = fs::read_to_string(dir.join(FILE)) else { continue };
                let began = Instant::now();
                match self.http.post(url).json(question).send().await {
                    Ok(answer) if answer.status() == StatusCode::OK => return Ok(answer.json().await?),
                    Ok(answer) if answer.status() == StatusCode::SERVICE_UNAVAILABLE => last = answer.text().await.unwrap_or_default(),
                    Ok(answer) => bail!("{question:?}: {}", answer.text().await?),
                    Err(error) => last = error.to_string(),
                }
                // Who was waiting was not away.
                if began.elapsed() > AWAY {
                    asked = Instant::now();
                }
            }
            if asked.elapsed() > AWAY {
                bail!("{question:?}: {last}");
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}
