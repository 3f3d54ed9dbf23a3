//! Settings of the installation: CEL expressions, DCP scopes, dataspace profiles (Management API).

use super::control_plane::{body, found, installation_route, query};
use crate::{
    App,
    http::{Access, ApiError, ErrorKind, Provisioner, Reply, Request, Route, Verb},
};
use cellspace_actors::{
    derived_id::id_of,
    expressions::{Budget, Context, Program, Val, operator},
    settings::agent::{Command, Refusal, Reply as Done, change},
};
use cellspace_cluster::AskError;
use cellspace_schemas::{
    ProfileId,
    management::{
        CelExpression, CelExpressionTestRequest, DataspaceProfile, DcpScope,
        envelope::{id_response, with_context},
    },
    odrl::AtomicConstraint,
};
use serde_json::{Value, json};

/// The routes. What changes the settings is for no participant, whatever its scopes: they are everybody's, and decide whose credentials count.
#[must_use]
pub fn routes() -> Vec<Route> {
    const ADMIN: Access = Access::Scope("management-api:admin", Provisioner::Denied);
    const READ: Access = Access::Scope("management-api:profiles:read", Provisioner::Denied);
    const WRITE: Access = Access::Scope("management-api:profiles:write", Provisioner::Denied);
    vec![
        installation_route(Verb::Post, "/celexpressions", ADMIN, |app, request| Box::pin(create_expression(app, request))),
        installation_route(Verb::Query, "/celexpressions/request", ADMIN, |app, request| Box::pin(list_expressions(app, request))),
        installation_route(Verb::Query, "/celexpressions/test", ADMIN, |app, request| Box::pin(test_expression(app, request))),
        installation_route(Verb::Get, "/celexpressions/{id}", ADMIN, |app, request| Box::pin(get_expression(app, request))),
        installation_route(Verb::Put, "/celexpressions/{id}", ADMIN, |app, request| Box::pin(update_expression(app, request))),
        installation_route(Verb::Delete, "/celexpressions/{id}", ADMIN, |app, request| Box::pin(delete_expression(app, request))),
        installation_route(Verb::Post, "/dcpscopes", ADMIN, |app, request| Box::pin(create_scope(app, request))),
        installation_route(Verb::Query, "/dcpscopes/request", ADMIN, |app, request| Box::pin(list_scopes(app, request))),
        installation_route(Verb::Put, "/dcpscopes/{id}", ADMIN, |app, request| Box::pin(update_scope(app, request))),
        installation_route(Verb::Delete, "/dcpscopes/{id}", ADMIN, |app, request| Box::pin(delete_scope(app, request))),
        installation_route(Verb::Post, "/dataspaceprofiles", WRITE, |app, request| Box::pin(create_profile(app, request))),
        installation_route(Verb::Put, "/dataspaceprofiles", WRITE, |app, request| Box::pin(update_profile(app, request))),
        installation_route(Verb::Query, "/dataspaceprofiles/request", READ, |app, request| Box::pin(list_profiles(app, request))),
        installation_route(Verb::Get, "/dataspaceprofiles/{name}", READ, |app, request| Box::pin(get_profile(app, request))),
        installation_route(Verb::Delete, "/dataspaceprofiles/{name}", WRITE, |app, request| Box::pin(delete_profile(app, request))),
    ]
}

async fn apply(app: &App, request: &Request, command: Command) -> Result<Done, ApiError> {
    change(&app.services, command, request.call()?).await.map_err(told)
}

fn told(error: AskError<Refusal>) -> ApiError {
    match error {
        AskError::NotRegistered => ApiError::not_found("not found"),
        other => ApiError::from_ask(other, |refusal| {
            let kind = match refusal {
                Refusal::Exists(..) | Refusal::PathTaken(_) | Refusal::PathInUse(_) | Refusal::DefaultProfile => ErrorKind::Conflict,
                Refusal::NotFound(..) => ErrorKind::NotFound,
                Refusal::Limit(_) | Refusal::Expression(_) => ErrorKind::Invalid,
            };
            ApiError::new(kind, refusal.to_string())
        }),
    }
}

/// Reads a body whose id, when it has one, must be that of the path.
fn of_path<T>(
    request: &Request,
    from_json: impl FnOnce(&Value, &str) -> Result<T, Vec<cellspace_schemas::Violation>>,
    id_of: impl FnOnce(&T) -> &str,
) -> Result<T, ApiError> {
    let id = request.param("id")?;
    let value = body(request, |body| from_json(body, id))?;
    if id_of(&value) == id { Ok(value) } else { Err(ApiError::invalid("the @id of the body is not that of the path")) }
}

async fn create_expression(app: App, request: Request) -> Result<Reply, ApiError> {
    let fresh = id_of("cel-expression", &request.call()?).to_string();
    let expression = body(&request, |body| CelExpression::from_json(body, &fresh))?;
    let id = expression.id.clone();
    let done = apply(&app, &request, Command::CreateExpression(expression)).await?;
    Reply::ok(&id_response(&id, done.at))
}

async fn update_expression(app: App, request: Request) -> Result<Reply, ApiError> {
    let expression = of_path(&request, CelExpression::from_json, |e| &e.id)?;
    apply(&app, &request, Command::UpdateExpression(expression)).await?;
    Ok(Reply::no_content())
}

async fn delete_expression(app: App, request: Request) -> Result<Reply, ApiError> {
    let id = request.param("id")?.to_owned();
    apply(&app, &request, Command::DeleteExpression(id)).await?;
    Ok(Reply::no_content())
}

async fn get_expression(app: App, request: Request) -> Result<Reply, ApiError> {
    let id = request.param("id")?;
    let settings = app.services.settings.load();
    found(settings.cel_expressions.get(id).map(CelExpression::to_json), "CEL expression", id)
}

async fn list_expressions(app: App, request: Request) -> Result<Reply, ApiError> {
    let settings = app.services.settings.load();
    query(&request, &CelExpression::PATHS, settings.cel_expressions.values(), |e| e.id.as_str(), |e| e.to_json())
}

async fn test_expression(app: App, request: Request) -> Result<Reply, ApiError> {
    let test = body(&request, CelExpressionTestRequest::from_json)?;
    let params = Value::Object(test.params);
    let operator = operator(&test.operator).ok_or_else(|| ApiError::invalid("operator: is not an operator"))?;
    let this = AtomicConstraint { left_operand: test.left_operand, operator, right_operand: test.right_operand };
    let context = Context::new(Val::of(&params), app.services.cluster.now());
    let program = Program::compile(&test.expression).map_err(|e| e.to_string());
    let result =
        program.as_ref().map_err(Clone::clone).and_then(|it| it.evaluate(&this, &context, &Budget::default()).map_err(|e| e.to_string()));
    Reply::ok(&with_context(match result {
        Ok(result) => json!({"@type": "CelExpressionTestResponse", "evaluationResult": result}),
        Err(error) => json!({"@type": "CelExpressionTestResponse", "error": error}),
    }))
}

async fn create_scope(app: App, request: Request) -> Result<Reply, ApiError> {
    let fresh = id_of("dcp-scope", &request.call()?).to_string();
    let scope = body(&request, |body| DcpScope::from_json(body, &fresh))?;
    let id = scope.id.clone();
    let done = apply(&app, &request, Command::CreateScope(scope)).await?;
    Reply::ok(&id_response(&id, done.at))
}

async fn update_scope(app: App, request: Request) -> Result<Reply, ApiError> {
    let scope = of_path(&request, DcpScope::from_json, |s| &s.id)?;
    apply(&app, &request, Command::UpdateScope(scope)).await?;
    Ok(Reply::no_content())
}

async fn delete_scope(app: App, request: Request) -> Result<Reply, ApiError> {
    let id = request.param("id")?.to_owned();
    apply(&app, &request, Command::DeleteScope(id)).await?;
    Ok(Reply::no_content())
}

async fn list_scopes(app: App, request: Request) -> Result<Reply, ApiError> {
    let settings = app.services.settings.load();
    query(&request, &DcpScope::PATHS, settings.dcp_scopes.values(), |s| s.id.as_str(), |s| s.to_json())
}

async fn create_profile(app: App, request: Request) -> Result<Reply, ApiError> {
    let profile = body(&request, DataspaceProfile::from_json)?;
    let name = profile.name.clone();
    let done = apply(&app, &request, Command::CreateProfile(profile)).await?;
    Reply::ok(&id_response(name.as_str(), done.at))
}

async fn update_profile(app: App, request: Request) -> Result<Reply, ApiError> {
    let profile = body(&request, DataspaceProfile::from_json)?;
    apply(&app, &request, Command::UpdateProfile(profile)).await?;
    Ok(Reply::no_content())
}

async fn delete_profile(app: App, request: Request) -> Result<Reply, ApiError> {
    let name: ProfileId = request.id("name")?;
    apply(&app, &request, Command::DeleteProfile(name)).await?;
    Ok(Reply::no_content())
}

async fn get_profile(app: App, request: Request) -> Result<Reply, ApiError> {
    let name: ProfileId = request.id("name")?;
    let settings = app.services.settings.load();
    found(settings.profiles.get(&name).map(DataspaceProfile::to_json), "dataspace profile", name)
}

async fn list_profiles(app: App, request: Request) -> Result<Reply, ApiError> {
    let settings = app.services.settings.load();
    query(&request, &DataspaceProfile::PATHS, settings.profiles.values(), |p| p.name.as_str(), |p| p.to_json())
}
