//! The route table: one module per API, each with a `routes()` list.

pub mod access;
pub mod agreements;
pub mod assets;
pub mod catalog;
pub mod catalogs;
pub mod contract_definitions;
mod control_plane;
pub mod data;
pub mod data_planes;
pub mod dataflows;
pub mod dcp;
pub mod did;
mod dsp;
pub mod dsp_catalog;
pub mod dsp_classic;
pub mod dsp_negotiation;
pub mod dsp_transfer;
pub mod events;
pub mod identity;
pub mod issuance;
pub mod issuer_admin;
pub mod management_v4;
pub mod negotiations;
pub mod openapi;
pub mod ops;
mod paging;
pub mod participants;
pub mod policy_definitions;
pub mod prefixes;
pub mod provision_manager;
mod resources;
pub mod runtime;
pub mod secrets;
pub mod settings;
pub mod signaling;
pub mod sources;
pub mod status_list;
pub mod sts;
pub mod target_nodes;
pub mod tenant_manager;
pub mod token;
pub mod token_admin;
pub mod tokens;
pub mod transfers;

use crate::http::Route;

/// Every operation of the platform, but for those of an installation that is there for one participant ([`management_v4`], [`dsp_classic`]).
#[must_use]
pub fn all() -> Vec<Route> {
    let mut all = Vec::new();
    all.extend(assets::routes());
    all.extend(catalog::routes());
    all.extend(catalogs::routes());
    all.extend(target_nodes::routes());
    all.extend(contract_definitions::routes());
    all.extend(dsp_catalog::routes());
    all.extend(participants::routes());
    all.extend(policy_definitions::routes());
    all.extend(secrets::routes());
    all.extend(settings::routes());
    all.extend(data::routes());
    all.extend(dataflows::routes());
    all.extend(issuance::routes());
    all.extend(issuer_admin::routes());
    all.extend(sources::routes());
    all.extend(status_list::routes());
    all.extend(dcp::routes());
    all.extend(did::routes());
    all.extend(identity::routes());
    all.extend(sts::routes());
    all.extend(tokens::routes());
    all.extend(agreements::routes());
    all.extend(access::routes());
    all.extend(data_planes::routes());
    all.extend(dsp_negotiation::routes());
    all.extend(dsp_transfer::routes());
    all.extend(negotiations::routes());
    all.extend(events::routes());
    all.extend(signaling::routes());
    all.extend(transfers::routes());
    all.extend(openapi::routes());
    all.extend(ops::routes());
    all.extend(runtime::routes());
    all.extend(token::routes());
    all.extend(token_admin::routes());
    all.extend(tenant_manager::routes());
    all.extend(provision_manager::routes());
    all
}
