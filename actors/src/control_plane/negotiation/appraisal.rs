//! Temp.
use super::Refusal;
use crate::control_plane::{ControlPlaneState, dsp::Sender};
use cellspace_schemas::{ProfileId, Timestamp, dsp::negotiation::MessageOffer, odrl::Policy};
pub enum Appraisal {
    Met,
    Unmet(String),
}
pub fn appraise(_s: &ControlPlaneState, _x: &Sender, _p: &ProfileId, _o: &MessageOffer, _n: Timestamp) -> Result<Appraisal, Refusal> {
    Ok(Appraisal::Met)
}
pub fn policies<'a>(_s: &'a ControlPlaneState, _o: &'a MessageOffer) -> Vec<&'a Policy> {
    vec![]
}
