//! Tokens: what they let their bearer ask a holder for, and who gets them.

use super::*;

#[tokio::test]
async fn a_holder_presents_what_was_granted_to_whom() {
    let platform = start().await;
    for id in ["consumer", "provider", "stranger"] {
        platform.participant(id).await;
    }
    platform.issuer_with(&[("consumer", &["membership", "manufacturer"])]).await;
    let services = &platform.node.app.services;
    // What the consumer's message to the provider carries.
    let message = self_issued_token(services, &id_of("consumer"), &platform.did("provider"), &[MEMBERSHIP.to_owned()]).await.unwrap();
    let access = claims(&message)["token"].as_str().unwrap().to_owned();
    let token = |sender: &'static str, access: Option<String>| {
        let (services, holder) = (services.clone(), platform.did("consumer"));
        async move { cellspace_actors::trust::token_with_access(&services, &id_of(sender), &holder, access.as_deref()).await.unwrap() }
    };
    let count = |answer: &Value| answer["presentation"].as_array().unwrap_or_else(|| panic!("{answer}")).len();
    let (status, answer) = platform.query_presentations("consumer", &token("provider", Some(access.clone())).await, &[MEMBERSHIP]).await;
    assert_eq!((status, count(&answer)), (StatusCode::OK, 1), "{answer}");
    assert_eq!(claims(answer["presentation"][0].as_str().unwrap())["aud"], json!(platform.did("provider")));
    // Two parts are as good as three, and more than was granted is answered by less.
    let scopes = ["org.eclipse.dspace.dcp.vc.type:MembershipCredential", MANUFACTURER];
    let (status, answer) = platform.query_presentations("consumer", &token("provider", Some(access.clone())).await, &scopes).await;
    assert_eq!((status, count(&answer)), (StatusCode::OK, 1), "{answer}");
    let (status, answer) = platform.query_presentations("consumer", &token("provider", Some(access.clone())).await, &[MANUFACTURER]).await;
    assert_eq!((status, count(&answer)), (StatusCode::OK, 0), "{answer}");
    // Refused: passed on, missing, forged, used twice.
    let once = token("provider", Some(access.clone())).await;
    assert_eq!(platform.query_presentations("consumer", &once, &[MEMBERSHIP]).await.0, StatusCode::OK);
    for bad in [
        token("stranger", Some(access.clone())).await,
        token("provider", None).await,
        token("provider", Some(format!("{access}x"))).await,
        token("provider", Some(message.clone())).await,
        once,
        message,
        "x".to_owned(),
    ] {
        let (status, answer) = platform.query_presentations("consumer", &bad, &[MEMBERSHIP]).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{answer}");
        assert_eq!(answer[0]["type"], "AuthenticationFailed");
    }
    let ask = async |body: &Value| {
        let url = format!("{}/presentations/query", platform.node.urls.credential_service(&id_of("consumer")));
        let request = platform.http.post(url).bearer_auth(token("provider", Some(access.clone())).await).json(body);
        read(request.send().await.unwrap()).await
    };
    for bad in [json!({"scope": []}), json!({}), json!({"scope": [MEMBERSHIP], "presentationDefinition": {}}), json!({"scope": ["Member"]})]
    {
        let mut body = json!({"@context": [DCP_CONTEXT], "type": "PresentationQueryMessage"});
        body.as_object_mut().unwrap().extend(bad.as_object().unwrap().clone());
        assert_eq!(ask(&body).await.0, StatusCode::BAD_REQUEST, "{bad}");
    }
    // In another form of JSON-LD it is the same query; what is not known is named.
    let dcp = "https://w3id.org/dspace-dcp/v1.0/";
    let (kind, scope) = (format!("{dcp}PresentationQueryMessage"), format!("{dcp}scope"));
    for body in [
        json!([{"@type": [kind], scope: [{"@value": MEMBERSHIP}]}]),
        json!({"@context": {"d": dcp}, "@type": "d:PresentationQueryMessage", "d:scope": MEMBERSHIP}),
    ] {
        let (status, answer) = ask(&body).await;
        assert_eq!((status, answer["presentation"].as_array().map(Vec::len)), (StatusCode::OK, Some(1)), "{body}: {answer}");
    }
    let unknown = json!({"@context": [{"d": dcp}, "https://x.example/c"], "@type": "d:PresentationQueryMessage", "d:scope": MEMBERSHIP});
    let (status, answer) = ask(&unknown).await;
    assert!(status == StatusCode::BAD_REQUEST && answer.to_string().contains("https://x.example/c"), "{answer}");
    platform.node.drain(DRAIN).await;
}

#[tokio::test]
async fn an_earlier_level_is_spoken_where_that_is_chosen() {
    let dcp = DcpOptions { format_names: true, refuse_beyond_grant: true, single_status: true };
    let platform = Platform::temporary(|config| config.dcp = dcp).await;
    for id in ["consumer", "provider"] {
        platform.participant(id).await;
    }
    // The holder understands the names.
    platform.issuer_with(&[("consumer", &["membership", "manufacturer"])]).await;
    let services = &platform.node.app.services;
    let message = self_issued_token(services, &id_of("consumer"), &platform.did("provider"), &[MANUFACTURER.to_owned()]).await.unwrap();
    let access = claims(&message)["token"].as_str().unwrap().to_owned();
    let ask = async |scopes: &[&str]| {
        let holder = platform.did("consumer");
        let token = cellspace_actors::trust::token_with_access(services, &id_of("provider"), &holder, Some(&access)).await.unwrap();
        platform.query_presentations("consumer", &token, scopes).await
    };
    let (status, answer) = ask(&[MANUFACTURER]).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let presentation = claims(answer["presentation"][0].as_str().unwrap());
    let credential = claims(presentation["vp"]["verifiableCredential"][0].as_str().unwrap());
    assert_eq!(credential["vc"]["credentialStatus"]["statusPurpose"], "revocation");
    for more in [&[MANUFACTURER, MEMBERSHIP][..], &[MEMBERSHIP]] {
        assert_eq!(ask(more).await.0, StatusCode::FORBIDDEN, "{more:?}");
    }
    platform.node.drain(DRAIN).await;
}

#[tokio::test]
async fn a_token_from_before_a_restart_is_to_be_signed_anew() {
    let dir = tempfile::tempdir().unwrap();
    let platform = Platform::start(config(dir.path())).await;
    for id in ["consumer", "provider"] {
        platform.participant(id).await;
    }
    let token = self_issued_token(&platform.node.app.services, &id_of("provider"), &platform.did("consumer"), &[]).await.unwrap();
    let ask = async |platform: &Platform| {
        let url = format!("{}/presentations/query", platform.node.urls.credential_service(&id_of("consumer")));
        let body = json!({"@context": [DCP_CONTEXT], "type": "PresentationQueryMessage", "scope": [MEMBERSHIP]});
        platform.http.post(url).bearer_auth(&token).json(&body).send().await.unwrap()
    };
    // It is used up, although it grants nothing.
    assert_eq!(ask(&platform).await.status(), StatusCode::UNAUTHORIZED);
    platform.node.drain(DRAIN).await;
    // Whether it was used is not known any more: neither accepted nor refused for good.
    let again = Platform::start(config(dir.path())).await;
    let answer = ask(&again).await;
    assert_eq!((answer.status(), answer.headers()["retry-after"].to_str().unwrap()), (StatusCode::SERVICE_UNAVAILABLE, "1"));
    again.node.drain(DRAIN).await;
}

#[tokio::test]
async fn clients_get_tokens_from_the_sts() {
    let platform = start().await;
    let mut manifest = platform.manifest("acme", "acme");
    manifest["provisionStsAccount"] = json!(true);
    let secrets = platform.must(Method::POST, &format!("{IDENTITY}/participants"), Some(manifest)).await;
    let secret = secrets["clientSecret"].as_str().unwrap();
    let audience = platform.did("other");
    let form = |secret: &str| {
        let form = [
            ("grant_type", "client_credentials".to_owned()),
            ("client_id", "acme".to_owned()),
            ("client_secret", secret.to_owned()),
            ("audience", audience.to_string()),
            ("bearer_access_scope", MEMBERSHIP.to_owned()),
        ];
        let platform = &platform;
        async move {
            let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
            read(platform.form("/api/sts/token", &form).await).await
        }
    };
    let (status, answer) = form(secret).await;
    assert_eq!((status, &answer["token_type"]), (StatusCode::OK, &json!("Bearer")));
    let token = claims(answer["access_token"].as_str().unwrap());
    assert_eq!((&token["iss"], &token["aud"]), (&json!(platform.did("acme")), &json!(audience)));
    assert_eq!(claims(token["token"].as_str().unwrap())["sub"], json!(audience));
    let (status, answer) = form("wrong").await;
    assert_eq!((status, &answer["error"]), (StatusCode::UNAUTHORIZED, &json!("invalid_client")));
    platform.node.drain(DRAIN).await;
}
