//! Issuance processes, and decisions on those that wait for one.

use super::{fields, issuer, missing, page, reason, snapshot, tell};
use crate::{
    App,
    http::{ApiError, Reply, Request},
};
use cellspace_actors::issuer::{Command, approval::Command as Verdict};
use cellspace_schemas::{issuer::IssuerPid, query_spec::PathRules};

const PROCESS: PathRules = PathRules {
    fields: &[
        "id",
        "holderId",
        "participantContextId",
        "holderPid",
        "claims.*",
        "credentialDefinitions.*",
        "credentialFormats.*",
        "state",
        "errorDetail",
        "createdAt",
        "updatedAt",
    ],
    free_properties: false,
};

pub(super) async fn get_process(app: App, request: Request) -> Result<Reply, ApiError> {
    let (issuer, state) = (issuer(&request)?, snapshot(&app, &request).await?);
    let id: IssuerPid = request.id("process")?;
    let process = state.processes.get(&id).ok_or_else(|| missing("issuance process", id.as_str()))?;
    Reply::ok(&process.view(&issuer))
}

pub(super) async fn approve(app: App, request: Request) -> Result<Reply, ApiError> {
    let process = request.id("process")?;
    tell(&app, &request, Command::Verdict(Verdict::Approve(process))).await.map(|()| Reply::no_content())
}

pub(super) async fn reject(app: App, request: Request) -> Result<Reply, ApiError> {
    let (process, reason) = (request.id("process")?, reason(&request)?);
    tell(&app, &request, Command::Verdict(Verdict::Reject { process, reason })).await.map(|()| Reply::no_content())
}

pub(super) async fn query_processes(app: App, request: Request) -> Result<Reply, ApiError> {
    let (issuer, state) = (issuer(&request)?, snapshot(&app, &request).await?);
    page(
        &request,
        &PROCESS,
        state.processes.values(),
        |process| process.id.as_str(),
        |process| fields(&process.view(&issuer)),
        |process| process.view(&issuer),
    )
}
