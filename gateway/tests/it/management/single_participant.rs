//! An installation for one participant.

use super::{MANAGEMENT, body, context};
use crate::support::{DRAIN, Platform, id_of, read};
use cellspace_actors::trust;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// What an installation for one participant serves without naming it is what it serves with its name; to nobody else.
#[tokio::test]
async fn one_participant_need_not_be_named() {
    const V4: [&str; 2] = ["/api/mgmt/v4", "/api/management/v4"];
    let p = Platform::temporary(|config| config.single_participant = Some(id_of("acme"))).await;
    let made = body("Asset", json!({"@id": "a", "properties": {"k": "v"}}));
    // It is not there yet.
    assert_eq!(p.call(Method::POST, "/api/mgmt/v4/assets", Some(made.clone())).await.0, StatusCode::NOT_FOUND);
    const VERSIONS: &str = "/.well-known/dspace-version";
    let (status, refused) = p.public(&format!("/api/dsp{VERSIONS}")).await;
    assert_eq!((status, &refused["@type"], &refused["code"]), (StatusCode::NOT_FOUND, &json!("VersionsError"), &json!("404")));
    let (status, _) = p.manage(Method::POST, "/participants", Some(context(&p, "acme", json!({"@id": "acme"})))).await;
    assert_eq!(status, StatusCode::OK);
    p.participant("acme").await;
    p.participant("other").await;
    let (status, _) = p.manage(Method::POST, "/participants", Some(context(&p, "other", json!({"@id": "other"})))).await;
    assert_eq!(status, StatusCode::OK);
    // Paths are below the place where they are told; only profiles of its own are.
    let (_, mut named) = p.public(&format!("/api/dsp/acme{VERSIONS}")).await;
    let (status, unnamed) = p.public(&format!("/api/dsp{VERSIONS}")).await;
    assert_eq!((status, unnamed["protocolVersions"].as_array().map(Vec::len)), (StatusCode::OK, Some(1)), "{unnamed}");
    assert_eq!(named["protocolVersions"][0]["path"], "/http-dsp-profile-2025-1");
    named["protocolVersions"][0]["path"] = json!("/2025-1");
    assert_eq!(named, unnamed);
    // The protocol is there, too, as it is below the participant.
    for path in ["/catalog/datasets/x", "/negotiations/x", "/transfers/x"] {
        let (named, unnamed) =
            (p.public(&format!("/api/dsp/acme/http-dsp-profile-2025-1{path}")).await, p.public(&format!("/api/dsp/2025-1{path}")).await);
        assert_eq!((unnamed.0, &unnamed), (StatusCode::UNAUTHORIZED, &named), "{path}");
    }
    let (told, acme) = (p.node.urls.public("/api/dsp/2025-1/catalog/request"), p.did("acme"));
    let asked = async |url: &str| {
        let token = trust::self_issued_token(&p.node.app.services, &id_of("other"), &acme, &[]).await.unwrap();
        let message = json!({"@context": ["https://w3id.org/dspace/2025/1/context.jsonld"], "@type": "CatalogRequestMessage"});
        read(p.http.post(url).bearer_auth(token).json(&message).send().await.unwrap()).await
    };
    let (status, catalog) = asked(&told).await;
    assert_eq!((status, &catalog["@type"], &catalog["participantId"]), (StatusCode::OK, &json!("Catalog"), &json!(acme)), "{catalog}");
    let token = async |participant: &str, scope: &str| {
        let id = format!("{participant}-{}", scope.replace(':', "-"));
        let client = json!({"id": id, "role": "participant", "participantContext": participant, "scopes": [scope]});
        let secret = p.client(client).await;
        p.token_of(&id, &secret).await
    };
    let (own, foreign) = (token("acme", "management-api:write").await, token("other", "management-api:write").await);
    let as_of = async |token: &str, method: Method, path: &str, body: Option<&Value>| {
        let request = p.bare(method, path).bearer_auth(token);
        let request = if let Some(body) = body { request.json(body) } else { request };
        read(request.send().await.unwrap()).await
    };
    for v4 in V4 {
        assert_eq!(as_of(&foreign, Method::GET, &format!("{v4}/assets/a"), None).await.0, StatusCode::FORBIDDEN);
        assert_eq!(p.bare(Method::GET, &format!("{v4}/assets/a")).send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    }
    // No scopes are asked for there, but a token that has some does no more than they say.
    let (any, reader) = (token("acme", "identity-api:read").await, token("acme", "management-api:read").await);
    let (v4, v5) = ("/api/mgmt/v4/assets", format!("{MANAGEMENT}/participants/acme/assets"));
    let (other, path) = (token("other", "identity-api:read").await, format!("{v4}/request"));
    let (all, here) = (body("QuerySpec", json!({})), body("Asset", json!({"@id": "b", "properties": {}})));
    for (token, path, body, expected) in [
        (&any, v4, &here, StatusCode::FORBIDDEN),
        (&own, v4, &here, StatusCode::OK),
        (&any, v5.as_str(), &here, StatusCode::FORBIDDEN),
        (&other, v4, &here, StatusCode::FORBIDDEN),
        (&reader, v4, &here, StatusCode::FORBIDDEN),
        (&reader, path.as_str(), &all, StatusCode::OK),
    ] {
        assert_eq!(as_of(token, Method::POST, path, Some(body)).await.0, expected, "{path}");
    }
    assert_eq!(as_of(&own, Method::DELETE, &format!("{v4}/b"), None).await.0, StatusCode::NO_CONTENT);
    assert_eq!(as_of(&own, Method::POST, "/api/mgmt/v4/assets", Some(&made)).await.0, StatusCode::OK);
    for (v4, resource) in
        V4.into_iter().zip(["assets/request", "contractnegotiations/request"]).chain([(V4[0], "transferprocesses/request")])
    {
        let asked = body("QuerySpec", json!({}));
        let named = as_of(&own, Method::POST, &format!("{MANAGEMENT}/participants/acme/{resource}"), Some(&asked)).await;
        assert_eq!((named.0, as_of(&own, Method::POST, &format!("{v4}/{resource}"), Some(&asked)).await), (StatusCode::OK, named));
    }
    assert_eq!(as_of(&own, Method::GET, "/api/management/v4/assets/a", None).await.1["properties"], json!({"k": "v"}));
    assert_eq!(as_of(&own, Method::DELETE, "/api/mgmt/v4/assets/a", None).await.0, StatusCode::NO_CONTENT);
    let secret = body("Secret", json!({"@id": "s", "value": "s3cret"}));
    assert_eq!(as_of(&own, Method::POST, "/api/mgmt/v4/secrets", Some(&secret)).await.0, StatusCode::OK);
    assert_eq!(as_of(&foreign, Method::GET, "/api/mgmt/v4/secrets/s", None).await.0, StatusCode::FORBIDDEN);
    assert_eq!(as_of(&own, Method::GET, "/api/management/v4/secrets/s", None).await.1["value"], "s3cret");
    assert_eq!(as_of(&own, Method::DELETE, "/api/mgmt/v4/secrets/s", None).await.0, StatusCode::NO_CONTENT);
    let plane = json!({"dataplaneId": "dp", "endpoint": p.node.urls.dataflows(&id_of("acme")), "transferTypes": ["HttpData-PULL"], "labels": ["eu"]});
    assert_eq!(as_of(&own, Method::PUT, "/api/mgmt/v4/dataplanes", Some(&plane)).await.0, StatusCode::OK);
    let (_, planes) = as_of(&own, Method::GET, "/api/management/v4/dataplanes", None).await;
    assert_eq!(
        (&planes[0]["@id"], &planes[0]["allowedTransferTypes"], &planes[0]["state"]),
        (&json!("dp"), &json!(["HttpData-PULL"]), &json!("REGISTERED"))
    );
    assert_eq!(planes.as_array().unwrap().len(), 1);
    let (_, versions) = read(p.http.get(format!("{}/api/v1/version", p.node.ops_url())).send().await.unwrap()).await;
    assert_eq!(versions["management"][1]["urlPath"], "/v4");
    p.node.drain(DRAIN).await;
    // Others do not know the paths.
    let p = Platform::temporary(|_| {}).await;
    p.participant("acme").await;
    p.manage(Method::POST, "/participants", Some(context(&p, "acme", json!({"@id": "acme"})))).await;
    let (status, refused) = p.public(&format!("/api/dsp{VERSIONS}")).await;
    assert_eq!((status, &refused["@type"]), (StatusCode::NOT_FOUND, &json!("VersionsError")));
    assert_eq!(p.public("/api/dsp/2025-1/negotiations/x").await.0, StatusCode::NOT_FOUND);
    for v4 in V4 {
        assert_eq!(
            p.call(Method::POST, &format!("{v4}/assets/request"), Some(body("QuerySpec", json!({})))).await.0,
            StatusCode::NOT_FOUND
        );
    }
    p.node.drain(DRAIN).await;
}
