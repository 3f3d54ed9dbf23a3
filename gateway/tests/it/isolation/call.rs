//! A row made a request, and its answer.

use super::{
    rows::{Asks, Row},
    world::{Side, World, encoded},
};
use cellspace::http::{Api, Listener};
use cellspace_client::{client::MANAGEMENT_CONTEXT, sharing};
use cellspace_schemas::dcp::DCP_CONTEXT;
use reqwest::{Method, header};
use serde_json::{Value, json};

/// Whose things a call is about.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The participant context of the path.
    pub context: &'a str,
    /// Whose objects.
    pub side: Side,
    /// But for this kind.
    pub swap: Option<(&'a str, Side)>,
    /// The profile, on routes of DSP.
    pub profile: &'a str,
    /// Which of the route's prefixes.
    pub prefix: usize,
}

impl<'a> Target<'a> {
    pub const fn new(context: &'a str, side: Side) -> Self {
        Self { context, side, swap: None, profile: sharing::PROFILE, prefix: 0 }
    }

    pub const fn but(self, kind: &'a str, side: Side) -> Self {
        Self { swap: Some((kind, side)), ..self }
    }

    pub fn side_of(&self, kind: &str) -> Side {
        match self.swap {
            // `kind.what` goes with its kind.
            Some((swapped, side)) if kind.split('.').next() == Some(swapped) => side,
            _ => self.side,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub text: String,
}

impl Answer {
    /// The answer but for these ids.
    pub fn without(&self, ids: &[&str]) -> Self {
        let text = ids.iter().fold(self.text.clone(), |text, id| text.replace(id, "<id>"));
        Self { status: self.status, text }
    }
}

impl World {
    fn url(&self, row: &Row, target: &Target<'_>) -> String {
        let segments = row.route.path.split('/').map(|segment| match segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            None => segment.to_owned(),
            Some("participant" | "issuer") => encoded(target.context),
            Some(name) => {
                let name = name.trim_start_matches('*');
                let object = row.objects.iter().find(|object| object.parameter == Some(name));
                object.map_or_else(|| target.profile.to_owned(), |object| encoded(self.id(object.kind, target.side_of(object.kind))))
            }
        });
        let path = format!("{}{}{}", row.route.prefixes[target.prefix], segments.collect::<Vec<_>>().join("/"), row.query);
        let node = self.stage.node();
        match (row.route.listener, &self.entry) {
            (Listener::Public, Some([public, _])) => format!("{public}{path}"),
            (Listener::Admin, Some([_, admin])) => format!("{admin}{path}"),
            (Listener::Public, None) => node.urls.public(&path),
            (Listener::Admin, None) => node.urls.admin(&path),
            (Listener::Ops, _) => format!("{}{path}", node.ops_url()),
        }
    }

    pub fn body(&self, row: &Row, target: &Target<'_>) -> Option<Value> {
        let mut text = row.body.as_ref()?.to_string();
        for kind in self.kinds() {
            let named = format!("{{{kind}}}");
            if text.contains(&named) {
                text = text.replace(&named, self.id(kind, target.side_of(kind)));
            }
        }
        let mut body: Value = serde_json::from_str(&text).unwrap();
        let context = match row.route.api {
            Api::Management => MANAGEMENT_CONTEXT,
            Api::DspCatalog | Api::DspNegotiation | Api::DspTransfer => crate::stage::DSP_CONTEXT,
            Api::Dcp => DCP_CONTEXT,
            _ => return Some(body),
        };
        body["@context"] = json!([context]);
        Some(body)
    }

    pub async fn send(&self, row: &Row, target: Target<'_>, token: Option<&str>) -> Answer {
        self.send_as(row.route.method.http(), row, target, token).await
    }

    pub async fn send_as(&self, method: Method, row: &Row, target: Target<'_>, token: Option<&str>) -> Answer {
        let mut request = self.stage.client.http.request(method, self.url(row, &target));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        request = match self.body(row, &target) {
            None => request,
            Some(body) if row.asks == Asks::Form => {
                let fields = body.as_object().unwrap().iter().map(|(name, value)| (name, value.as_str().unwrap()));
                let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
                request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(form)
            }
            Some(body) => request.json(&body),
        };
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        // What has no end is not read.
        let streams = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
        Answer { status, text: if streams { String::new() } else { response.text().await.unwrap() } }
    }
}
