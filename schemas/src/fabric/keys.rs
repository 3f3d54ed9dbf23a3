//! Keys of manifests, processing data and properties that agents and clients agree on.

/// Manifest: the participant's DID.
pub const PARTICIPANT_ID: &str = "cfm.participant.id";
/// Manifest: the VPAs, a list of [`super::VpaManifest`].
pub const VPA_DATA: &str = "cfm.vpa.data";
/// Manifest: the credentials to request, a list of [`super::CredentialSpec`].
pub const VPA_CREDENTIALS: &str = "cfm.vpa.credentials";
/// Manifest of a disposal, and property of a participant profile: what the deployment brought about.
pub const VPA_STATE: &str = "cfm.vpa.state";
/// Manifest: names of the dataspace profiles that the participant is associated with in its cell.
pub const PROFILES: &str = "cellspace.profiles";
/// Property of a dataspace profile: its name within cells; without it the default profile is meant.
pub const PROFILE_NAME: &str = "cellspace.profile.name";
/// Output: the participant context.
pub const PARTICIPANT_CONTEXT_ID: &str = "participantContextId";
/// Output: the holder's id of the (first) credential request.
pub const HOLDER_PID: &str = "holderPid";
/// Output: URL of the (first) credential request.
pub const CREDENTIAL_REQUEST: &str = "credentialRequest";
/// Orchestration that deploys the VPAs of a participant profile.
pub const DEPLOY: &str = "cfm.orchestration.vpa.deploy";
/// Orchestration that disposes of them.
pub const DISPOSE: &str = "cfm.orchestration.vpa.dispose";
