//! The first client of an installation of several nodes.

use super::*;

/// Of processes that make the first client at the same time one has it, and no file opens nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_file_is_one_that_opens_something() {
    let place = Place::new();
    let (a, shared) = place.first(|_| ()).await;
    let client = a.bootstrap.clone().unwrap();
    let of = |node: &str, file: &str| place.path().join(node).join(file);
    let begun = |node: &str, secret: &str| {
        let stored = json!({"clientId": client.client_id, "clientSecret": secret, "tokenUrl": client.token_url});
        fs::create_dir_all(place.path().join(node)).unwrap();
        fs::write(of(node, "bootstrap-client.new"), stored.to_string()).unwrap();
    };
    // A file of another installation is none of this one.
    let stale = |node: &str, secret: &str| {
        let stored = json!({"clientId": client.client_id, "clientSecret": secret, "tokenUrl": client.token_url});
        fs::create_dir_all(place.path().join(node)).unwrap();
        fs::write(of(node, "bootstrap-client.json"), stored.to_string()).unwrap();
    };
    for (node, secret, has_it) in [("e", "another secret", false), ("f", client.secret(), true)] {
        stale(node, secret);
        let another = place.another(&a, &shared, place.seat(node, None), |_| ()).await;
        assert_eq!((another.bootstrap.is_some(), of(node, "bootstrap-client.json").exists()), (has_it, true), "{node}");
        another.drain(DRAIN).await;
    }
    // One lost the race, one ended before it knew that it had won, one while it wrote the file.
    begun("b", "another secret");
    begun("c", client.secret());
    begun("d", "");
    fs::write(of("d", "bootstrap-client.new"), "{").unwrap();
    for (node, has_it) in [("b", false), ("c", true), ("d", false)] {
        let another = place.another(&a, &shared, place.seat(node, None), |_| ()).await;
        assert_eq!(another.bootstrap.as_ref().map(|found| found.secret()), has_it.then(|| client.secret()), "{node}");
        assert_eq!(another.bootstrap.map(|found| found.path), has_it.then(|| of(node, "bootstrap-client.json")));
        assert_eq!(of(node, "bootstrap-client.json").exists(), has_it);
        assert_eq!(of(node, "bootstrap-client.new").exists(), node == "d", "what a crash left of it is nothing");
    }
}

/// The same, as it happens.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_start_for_the_first_time_together_have_one_first_client() {
    let place = Place::new();
    let config_of = |node: &str| {
        let (public, admin) = ("http://localhost:1".parse().unwrap(), "http://localhost:2".parse().unwrap());
        NodeConfig { public_url: Some(public), admin_url: Some(admin), ..config(&place.path().join(node)) }
    };
    let shared = Shared::open(&config_of("a")).await.unwrap();
    let start = |node: &'static str, shared: Shared| Node::start_in_cell(config_of(node), shared, place.seat(node, None));
    let nodes = tokio::join!(start("a", shared.clone()), start("b", shared.beside()), start("c", shared.beside()));
    let nodes = <[_; 3]>::from(nodes).map(Result::unwrap);
    let files = ["a", "b", "c"].map(|node| place.path().join(node).join("bootstrap-client.json").exists());
    assert_eq!(nodes.each_ref().map(|node| node.bootstrap.is_some()), files);
    let client = nodes.iter().filter_map(|node| node.bootstrap.as_ref()).collect::<Vec<_>>();
    let [client] = client[..] else { panic!("{files:?}") };
    let form = [("grant_type", "client_credentials"), ("client_id", &client.client_id), ("client_secret", client.secret())];
    let url = format!("http://localhost:{}/token", nodes[0].admin_address().unwrap().port());
    assert_eq!(form_of(Client::new().post(url), &form).send().await.unwrap().status(), StatusCode::OK);
}
