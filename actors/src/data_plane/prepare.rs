//! What must be asked of others before a decision: the participant, and the vault, which keeps what must not lie in rows.

use super::{
    DataPlane,
    command::{Beginning, Command, FlowSignal, OfferedAddress, Opening, Prepared, Refusal, Signalled},
    decide::MAX_SOURCES,
    flow::{ReceivedAddress, Role, Signal, Terms, next},
    participant,
    source::Source,
    state::DataPlaneState,
};
use crate::{Services, records};
use cellspace_cluster::{Address, Call, PrepareError};
use cellspace_schemas::{
    MessageId, ParticipantContextId, PartyId, SecretText, SourceName, TransferId, TransferType,
    dps::{DataAddress, DataFlowBaseMessage},
    source::SourceDocument,
};
use std::sync::Arc;
use url::Url;
use uuid::Uuid;

/// Names of the one way of transfer that there is: that of the Eclipse connectors, and that of the profile's specification.
pub const HTTP_PULL: [&str; 2] = ["HttpData-PULL", "https://w3id.org/dspace-sig/profile/http-pull"];
/// Where the secrets of sources lie within the participant's part of the vault.
const SOURCES: &str = "source-secret/";
/// Where received addresses do.
const ADDRESSES: &str = "dataflow-address/";
/// Key of the metadata that names the source.
const SOURCE: &str = "source";

type Prepares = Result<Prepared, PrepareError<Refusal>>;

/// Asks what the command needs.
///
/// # Errors
/// [`Refusal`], or something needed is out of reach.
pub async fn prepare(services: &Services, address: &Address, snapshot: Arc<DataPlaneState>, command: Command, call: &Call) -> Prepares {
    let participant = ParticipantContextId::new(address.owner.as_str()).map_err(|_| Refusal::UnknownParticipant)?;
    match command {
        Command::PutSource { name, document } => put_source(services, (address, &participant), &snapshot, name, &document, call).await,
        Command::DeleteSource(name) => Ok(Prepared::DeleteSource(name)),
        Command::Prepare(message) => {
            let (terms, tenant) = begin(services, &participant, &message).await?;
            Ok(opening(*message, terms, tenant, Beginning::Prepare))
        }
        Command::Start(message) => {
            if message.data_address.is_some() {
                return Err(Refusal::AddressInPull.into());
            }
            let (terms, tenant) = begin(services, &participant, &message.flow).await?;
            let source = message.flow.metadata.get(SOURCE).and_then(|name| name.as_str()).ok_or(Refusal::NoSource)?;
            let source = SourceName::new(source).map_err(|_| Refusal::NoSource)?;
            Ok(opening(message.flow, terms, tenant, Beginning::Start { source, grant: Uuid::new_v4() }))
        }
        Command::Signal { flow, message, signal } => signalled(services, address, &snapshot, (flow, message, signal), call).await,
        Command::RecordUsage(batch) => Ok(Prepared::RecordUsage { participant, batch }),
        Command::Dispose => Ok(Prepared::Dispose),
        Command::Record(command) => Ok(Prepared::Record(command)),
    }
}

fn opening(message: DataFlowBaseMessage, terms: Terms, tenant: Option<Arc<str>>, beginning: Beginning) -> Prepared {
    Prepared::Open(Box::new(Opening { beginning, flow: message.process_id, message: message.message_id, terms, tenant }))
}

/// What a flow is about, and the participant's tenant; both ends begin alike.
async fn begin(
    services: &Services,
    participant: &ParticipantContextId,
    message: &DataFlowBaseMessage,
) -> Result<(Terms, Option<Arc<str>>), PrepareError<Refusal>> {
    let known = participant::find(services, participant).await?;
    if !known.active {
        return Err(Refusal::NotActive.into());
    }
    if message.participant_id != known.identity.as_str() {
        return Err(Refusal::WrongParticipant.into());
    }
    if !is_http_pull(&message.profile) {
        return Err(Refusal::TransferType(message.profile.clone()).into());
    }
    let terms = Terms {
        counter_party: PartyId::new(&message.counter_party_id).map_err(|_| Refusal::BadId("counterPartyId"))?,
        dataspace: message.dataspace_context.clone(),
        agreement: message.agreement_id.clone(),
        dataset: message.dataset_id.clone(),
        transfer_type: message.profile.clone(),
    };
    Ok((terms, known.tenant))
}

fn is_http_pull(transfer_type: &TransferType) -> bool {
    HTTP_PULL.contains(&transfer_type.as_str())
}

async fn put_source(
    services: &Services,
    (address, participant): (&Address, &ParticipantContextId),
    snapshot: &DataPlaneState,
    name: SourceName,
    document: &SourceDocument,
    call: &Call,
) -> Prepares {
    let tenant = participant::find(services, participant).await?.tenant;
    if document.name.as_ref().is_some_and(|other| *other != name) {
        return Err(Refusal::OtherName.into());
    }
    let source = Source::of(document).map_err(Refusal::from)?;
    services.http.check_target(&source.base_url).map_err(|_| Refusal::Target)?;
    // Decided once more later; a secret of what cannot become a source is not even stored.
    if !snapshot.sources.contains_key(&name) && snapshot.sources.size() >= MAX_SOURCES {
        return Err(Refusal::Limit { what: "sources", limit: MAX_SOURCES }.into());
    }
    let record = match document.authorization.as_ref().and_then(|a| a.secret.as_ref()) {
        Some(secret) => Some(records::keep::<DataPlane>(services, address, SOURCES, secret.expose(), call).await?),
        None => None,
    };
    Ok(Prepared::PutSource { name, source: Arc::new(source), record, tenant })
}

async fn signalled(
    services: &Services,
    at: &Address,
    snapshot: &DataPlaneState,
    (flow, message, signal): (TransferId, Option<MessageId>, FlowSignal),
    call: &Call,
) -> Prepares {
    let (signal, reason, address) = match signal {
        FlowSignal::Started(address) => (Signal::Started, None, address),
        FlowSignal::Suspend(reason) => (Signal::Suspend, reason, None),
        FlowSignal::Resume(address) => (Signal::Resume, None, address),
        FlowSignal::Terminate(reason) => (Signal::Terminate, reason, None),
        FlowSignal::Completed => (Signal::Completed, None, None),
    };
    let takes = snapshot
        .flows
        .get(&flow)
        .is_some_and(|f| f.role == Role::Consumer && !f.is_repeat(signal, message.as_ref()) && next(f.state, f.role, signal).is_ok());
    let address = match address {
        Some(address) if takes => Some(OfferedAddress::Stored(receive(services, at, &address, call).await?)),
        Some(_) => Some(OfferedAddress::NotStored),
        None => None,
    };
    Ok(Prepared::Signal(Box::new(Signalled { flow, message, signal, reason, address, grant: Uuid::new_v4() })))
}

/// Puts the whole address into the vault: any of its properties may be secret.
async fn receive(services: &Services, at: &Address, address: &DataAddress, call: &Call) -> Result<ReceivedAddress, PrepareError<Refusal>> {
    let endpoint = address.endpoint.as_deref().ok_or(Refusal::BadAddress)?;
    let url = Url::parse(endpoint).map_err(|_| Refusal::BadAddress)?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(Refusal::BadAddress.into());
    }
    let text = SecretText::new(serde_json::to_string(address).map_err(|e| PrepareError::Unavailable(e.to_string()))?);
    let record = records::keep::<DataPlane>(services, at, ADDRESSES, text.expose(), call).await?;
    Ok(ReceivedAddress { endpoint: endpoint.to_owned(), endpoint_type: address.endpoint_type.clone(), record })
}
