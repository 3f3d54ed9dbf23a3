//! Credentials: offered, issued, delivered, presented, revoked.

use super::*;

#[tokio::test]
async fn offers_are_kept() {
    let platform = start().await;
    platform.participant("acme").await;
    platform.issuer_with(&[]).await;
    let body = json!({"holderId": "acme", "did": platform.did("acme"), "name": "acme", "properties": {}});
    platform.must(Method::POST, &format!("{ISSUER_ADMIN}/holders"), Some(body)).await;
    let offer = json!({"holderId": "acme", "credentials": ["membership"], "offerReason": "proof-key-revocation"});
    platform.must(Method::POST, &format!("{ISSUER_ADMIN}/credentials/offer"), Some(offer)).await;
    let address = Address::of::<CredentialService>(&id_of("acme"));
    let offered = |state: &credential_service::State| (!state.offers.is_empty()).then_some(());
    let waited = platform.node.app.services.cluster.wait::<CredentialService, _>(&address, PATIENCE, offered).await.unwrap();
    assert!(waited.is_some());
    let offers = platform.must(Method::GET, &format!("{IDENTITY}/participants/acme/credentials/offers"), None).await;
    assert_eq!((&offers[0]["issuer"], &offers[0]["credentials"]), (&json!(platform.did("issuer")), &json!(["membership"])));
    let object = json!({"id": "membership", "credentialType": "MembershipCredential", "profile": "vc20-bssl/jwt", "offerReason": "proof-key-revocation"});
    assert_eq!(offers[0]["objects"], json!([object]));
    platform.node.drain(DRAIN).await;
}

#[tokio::test]
async fn an_offer_is_followed_where_a_rule_says_so() {
    let platform = start().await;
    platform.participant("acme").await;
    platform.issuer_with(&[]).await;
    let body = json!({"holderId": "acme", "did": platform.did("acme"), "name": "acme", "properties": {"level": "full"}});
    platform.must(Method::POST, &format!("{ISSUER_ADMIN}/holders"), Some(body)).await;
    let rules = format!("{IDENTITY}/participants/acme/credentials/offers/rules");
    assert_eq!(platform.must(Method::GET, &rules, None).await, json!([]));
    let issuer = platform.did("issuer");
    for bad in [
        json!([{"issuer": issuer, "types": []}]),
        json!([{"issuer": issuer, "types": [""]}]),
        json!([{"issuer": "issuer", "types": ["*"]}]),
        json!({}),
    ] {
        assert_eq!(platform.call(Method::PUT, &rules, Some(bad.clone())).await.0, StatusCode::BAD_REQUEST, "{bad}");
    }
    let rule = json!([{"issuer": issuer, "types": ["MembershipCredential"]}]);
    platform.must(Method::PUT, &rules, Some(rule.clone())).await;
    assert_eq!(platform.must(Method::GET, &rules, None).await, rule);
    // Of what is offered the rule means one; the format is what the issuer's metadata says.
    let offer = json!({"holderId": "acme", "credentials": ["membership", "manufacturer"]});
    platform.must(Method::POST, &format!("{ISSUER_ADMIN}/credentials/offer"), Some(offer)).await;
    let address = Address::of::<CredentialService>(&id_of("acme"));
    let held = |state: &credential_service::State| {
        let types = |held: &credential_service::credential::StoredCredential| held.types.last().cloned();
        state.credentials.values().next().map(|first| (types(first), state.credentials.size(), state.requests.size(), state.offers.size()))
    };
    let found = platform.node.app.services.cluster.wait::<CredentialService, _>(&address, DRAIN, held).await.unwrap().unwrap();
    assert_eq!(found, (Some("MembershipCredential".to_owned()), 1, 1, 1));
    platform.node.drain(DRAIN).await;
}

#[tokio::test]
async fn credentials_are_issued_presented_and_revoked() {
    let platform = start().await;
    for id in ["consumer", "provider", "stranger"] {
        platform.participant(id).await;
    }
    platform.issuer_with(&[("consumer", &["membership", "manufacturer"]), ("provider", &["membership"])]).await;

    // As the holder sees them.
    let held = platform.must(Method::GET, &format!("{IDENTITY}/participants/consumer/credentials?type=MembershipCredential"), None).await;
    assert_eq!(held.as_array().unwrap().len(), 1);
    assert_eq!((&held[0]["state"], &held[0]["issuerId"]), (&json!(500), &json!(platform.did("issuer"))));
    assert_eq!(held[0]["verifiableCredential"]["format"], "VC2_0_JOSE");
    assert_eq!(held[0]["verifiableCredential"]["credential"]["credentialSubject"][0]["level"], "full");
    let all = platform.must(Method::GET, &format!("{IDENTITY}/participants/consumer/credentials"), None).await;
    assert_eq!(all.as_array().unwrap().len(), 2);

    // As a verifier sees them: two formats, two presentations.
    let peer = platform.verify("consumer", "provider", &[MANUFACTURER]).await.unwrap();
    assert_eq!(peer.did, platform.did("consumer"));
    assert_eq!(types(&peer), ["ManufacturerCredential", "MembershipCredential"]);
    let peer = platform.verify("consumer", "provider", &[]).await.unwrap();
    assert_eq!(types(&peer), ["MembershipCredential"]);
    // A missing optional credential does not refuse, a missing required one does.
    let peer = platform.verify("provider", "consumer", &[MANUFACTURER]).await.unwrap();
    assert_eq!(types(&peer), ["MembershipCredential"]);
    let error = platform.verify("stranger", "provider", &[]).await.unwrap_err();
    assert!(rule(&error).contains("MembershipCredential"), "{error}");

    // The token: for one receiver, once, of its own signer.
    let services = &platform.node.app.services;
    let token = self_issued_token(services, &id_of("consumer"), &platform.did("provider"), &[MEMBERSHIP.to_owned()]).await.unwrap();
    let error = platform.verify_token("stranger", &token, &[]).await.unwrap_err();
    assert!(rule(&error).contains("aud"), "{error}");
    platform.verify_token("provider", &token, &[]).await.unwrap();
    let error = platform.verify_token("provider", &token, &[]).await.unwrap_err();
    assert!(rule(&error).contains("jti"), "{error}");
    let bare = self_issued_token(services, &id_of("consumer"), &platform.did("provider"), &[]).await.unwrap();
    let error = platform.verify_token("provider", &bare, &[]).await.unwrap_err();
    assert!(rule(&error).contains("token claim"), "{error}");

    // Revoked: refused as soon as the status list is read again, by what the list says alone.
    let issued = platform.must(Method::POST, &format!("{ISSUER_ADMIN}/credentials/query"), Some(json!({"limit": 100}))).await;
    let consumer = platform.did("consumer");
    let of = |name: &str| {
        let found = issued.as_array().unwrap().iter().find(|c| {
            let text = c.to_string();
            text.contains(name) && text.contains(consumer.as_str())
        });
        found.unwrap_or_else(|| panic!("{name} in {issued}"))["id"].as_str().unwrap().to_owned()
    };
    let revoke = |id: String| {
        let platform = &platform;
        async move { platform.must(Method::POST, &format!("{ISSUER_ADMIN}/credentials/{id}/revoke"), None).await }
    };
    revoke(of("ManufacturerCredential")).await;
    let peer = platform.verify("consumer", "provider", &[MANUFACTURER]).await.unwrap();
    assert_eq!(types(&peer), ["MembershipCredential"]);
    revoke(of("MembershipCredential")).await;
    let error = platform.verify("consumer", "provider", &[]).await.unwrap_err();
    assert!(rule(&error).contains("revoked"), "{error}");

    // The holder looks at what it stores: it shows what the list says, and does not present it.
    let path = format!("{IDENTITY}/participants/consumer/credentials");
    let stored = json!({"id": held[0]["id"], "verifiableCredentialContainer": {"rawVc": held[0]["verifiableCredential"]["rawVc"]}});
    platform.must(Method::PUT, &path, Some(stored)).await;
    let id: CredentialId = serde_json::from_value(held[0]["id"].clone()).unwrap();
    let revoked = |state: &credential_service::State| {
        state.credentials.get(&id).is_some_and(|held| held.status == credential_service::watch::HeldStatus::Revoked).then_some(())
    };
    let address = Address::of::<CredentialService>(&id_of("consumer"));
    assert_eq!(services.cluster.wait::<CredentialService, _>(&address, DRAIN, revoked).await.unwrap(), Some(()));
    let shown = platform.must(Method::GET, &format!("{path}/{id}"), None).await;
    assert_eq!(shown["state"], 600, "{shown}");
    let error = platform.verify("consumer", "provider", &[]).await.unwrap_err();
    assert!(rule(&error).contains("MembershipCredential") && !rule(&error).contains("revoked"), "{error}");
    platform.node.drain(DRAIN).await;
}

#[tokio::test]
async fn deliveries_answer_requests_of_their_issuer() {
    let platform = start().await;
    for id in ["consumer", "thief"] {
        platform.participant(id).await;
    }
    platform.issuer_with(&[("consumer", &["membership"]), ("thief", &["membership"])]).await;
    let services = &platform.node.app.services;
    let raw = |holder: &'static str| {
        let platform = &platform;
        async move {
            let all = platform.must(Method::GET, &format!("{IDENTITY}/participants/{holder}/credentials"), None).await;
            all[0]["verifiableCredential"]["rawVc"].as_str().unwrap().to_owned()
        }
    };
    let deliver = |sender: &'static str, holder_pid: &'static str, status: &'static str, payload: String, format: &'static str| {
        let platform = &platform;
        async move {
            let token = self_issued_token(services, &id_of(sender), &platform.did("consumer"), &[]).await.unwrap();
            let body = json!({"@context": [DCP_CONTEXT], "type": "CredentialMessage", "issuerPid": "x", "holderPid": holder_pid, "status": status,
                "credentials": [{"credentialType": "MembershipCredential", "format": format, "payload": payload}]});
            let url = format!("{}/credentials", platform.node.urls.credential_service(&id_of("consumer")));
            read(platform.http.post(url).bearer_auth(token).json(&body).send().await.unwrap()).await
        }
    };
    let (mine, others) = (raw("consumer").await, raw("thief").await);
    let jose = "vc20-bssl/jwt";
    let table = [
        ("thief", "hp-1", "ISSUED", mine.clone(), jose, 404),
        ("issuer", "hp-2", "ISSUED", mine.clone(), jose, 404),
        ("issuer", "hp-1", "ISSUED", others, jose, 400),
        ("issuer", "hp-1", "ISSUED", mine.clone(), "vc11-sl2021/jwt", 400),
        ("issuer", "hp-1", "ISSUED", format!("{mine}x"), jose, 400),
        ("issuer", "hp-1", "OTHER", mine.clone(), jose, 400),
        // The same again is answered again, and a late rejection changes nothing.
        ("issuer", "hp-1", "ISSUED", mine.clone(), "VC2_0_JOSE", 200),
        ("issuer", "hp-1", "REJECTED", mine.clone(), jose, 200),
    ];
    for (sender, holder_pid, status, payload, format, expected) in table {
        let (answered, body) = deliver(sender, holder_pid, status, payload, format).await;
        assert_eq!(answered.as_u16(), expected, "{sender} {holder_pid} {status}: {body}");
    }
    let path = format!("{IDENTITY}/participants/consumer/credentials");
    let held = platform.must(Method::GET, &path, None).await;
    assert_eq!(held.as_array().unwrap().len(), 1);
    // One that has expired is not taken, whoever brings it; one that is not valid yet is held until then, unless a valid one would go for it.
    let signed = |from: &'static str, until: &'static str| {
        let mut changed = claims(&mine);
        let (platform, object) = (&platform, changed.as_object_mut().unwrap());
        ["iat", "nbf", "exp"].iter().for_each(|name| drop(object.remove(*name)));
        object.extend([("validFrom".to_owned(), json!(from)), ("validUntil".to_owned(), json!(until))]);
        async move {
            let key = signing_key(services, &id_of("issuer"), KeyUsage::Credentials).await.unwrap();
            let object = changed.as_object().unwrap();
            issuer::signing::sign(platform.node.app.services.vault.as_ref(), &key, CredentialFormat::Vc2Jose, object).await.unwrap()
        }
    };
    let (expired, to_come) =
        (signed("2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z").await, signed("2100-01-01T00:00:00Z", "2101-01-01T00:00:00Z").await);
    for (payload, expected, rule) in [(&expired, 400, "must not be expired"), (&to_come, 400, "must not take the place")] {
        let (answered, body) = deliver("issuer", "hp-1", "ISSUED", payload.clone(), jose).await;
        assert!(answered.as_u16() == expected && body.to_string().contains(rule), "{body}");
    }
    let manifest = |id: &str, raw: &str| json!({"id": id, "verifiableCredentialContainer": {"rawVc": raw}});
    assert_eq!(platform.call(Method::POST, &path, Some(manifest("c-1", &expired))).await.0, StatusCode::BAD_REQUEST);
    platform.must(Method::POST, &path, Some(manifest("c-2", &to_come))).await;
    assert_eq!(platform.must(Method::GET, &format!("{path}/c-2"), None).await["state"], 900);
    platform.verify("consumer", "thief", &[]).await.unwrap();
    platform.must(Method::DELETE, &format!("{path}/{}", held[0]["id"].as_str().unwrap()), None).await;
    assert!(platform.verify("consumer", "issuer", &[]).await.is_err(), "what is not valid yet is not presented");
    platform.must(Method::DELETE, &format!("{path}/c-2"), None).await;
    let (answered, body) = deliver("issuer", "hp-1", "ISSUED", to_come, jose).await;
    assert!(answered.is_success(), "{body}");
    let held = platform.must(Method::GET, &path, None).await;
    assert_eq!((held.as_array().unwrap().len(), &held[0]["state"]), (1, &json!(900)));
    let request = platform.must(Method::GET, &format!("{path}/request/hp-1"), None).await;
    assert_eq!(request["status"], "ISSUED");
    // A second request under the same id is refused; one for what the issuer does not have ends in an error.
    let path = format!("{IDENTITY}/participants/consumer/credentials/request");
    let body = |pid: &str, id: &str| json!({"issuerDid": platform.did("issuer"), "holderPid": pid, "credentials": [{"format": jose, "type": "T", "id": id}]});
    assert_eq!(platform.call(Method::POST, &path, Some(body("hp-1", "membership"))).await.0, StatusCode::CONFLICT);
    let mut twice = body("hp-4", "membership");
    twice["credentials"] = json!([twice["credentials"][0], twice["credentials"][0]]);
    assert_eq!(platform.call(Method::POST, &path, Some(twice)).await.0, StatusCode::BAD_REQUEST);
    platform.must(Method::POST, &path, Some(body("hp-3", "nothing"))).await;
    let failed = platform.must(Method::GET, &format!("{path}/hp-3?wait=ISSUED&timeout=20s"), None).await;
    assert_eq!(failed["status"], "ERROR", "{failed}");
    assert_eq!(platform.call(Method::GET, &format!("{path}/hp-9"), None).await.0, StatusCode::NOT_FOUND);
    platform.node.drain(DRAIN).await;
}
