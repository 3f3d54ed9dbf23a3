//! Where a catalog goes on, as its answer's `Link` header says (RFC 8288; DSP 2025-1, "Pagination").

use cellspace_schemas::dsp::BaseUrl;
use url::Url;

/// Longest header that is looked into, in bytes.
const MAX_HEADER: usize = 8 << 10;

/// The next page that these headers name, when it is where the target takes messages: nobody else is sent a token for it.
#[must_use]
pub fn next_page<'h>(headers: impl IntoIterator<Item = &'h str>, current: &Url, address: &BaseUrl) -> Option<Url> {
    let links = headers.into_iter().filter(|value| value.len() <= MAX_HEADER).flat_map(links_of);
    let (target, _) = links.into_iter().find(|(_, parameters)| is_next(parameters))?;
    let url = current.join(target).ok()?;
    let mut bare = url.clone();
    bare.set_query(None);
    bare.set_fragment(None);
    bare.as_str().parse::<BaseUrl>().ok().filter(|place| place.is_within(address.url())).map(|_| url)
}

/// `<target>; parameters`, separated by commas that stand outside of targets and quotes.
fn links_of(header: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = header;
    std::iter::from_fn(move || {
        let (_, after) = rest.split_once('<')?;
        let (target, after) = after.split_once('>')?;
        let mut quoted = false;
        let end = after.find(|c: char| {
            quoted ^= c == '"';
            c == ',' && !quoted
        });
        let (parameters, left) = end.map_or((after, ""), |end| after.split_at(end));
        rest = left;
        Some((target.trim(), parameters))
    })
}

/// Whether one of the parameters is the relation `next`, alone or among others.
fn is_next(parameters: &str) -> bool {
    parameters.split(';').filter_map(|parameter| parameter.split_once('=')).any(|(name, value)| {
        let relations = value.trim().trim_matches('"');
        name.trim().eq_ignore_ascii_case("rel") && relations.split_ascii_whitespace().any(|relation| relation.eq_ignore_ascii_case("next"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn next(link: &str) -> Option<String> {
        let (current, address) = ("https://x.example/dsp/net/catalog/request", "https://x.example/dsp/net");
        next_page([link], &current.parse().unwrap(), &address.parse().unwrap()).map(String::from)
    }

    #[test]
    fn the_next_page_is_where_the_target_takes_messages() {
        let page = "https://x.example/dsp/net/catalog/request?continuationToken=a,b";
        for link in [
            format!("<{page}>; rel=\"next\""),
            format!("<{page}>;rel=next"),
            format!("<https://x.example/dsp/net/catalog/request?continuationToken=c>; rel=\"previous\", <{page}>; rel=\"next\""),
            format!("<{page}>; title=\"a, <b>; rel=x\"; REL=\"last Next\""),
            "<?continuationToken=a,b>; rel=\"next\"".to_owned(),
            "</dsp/net/catalog/request?continuationToken=a,b>; rel=\"next\"".to_owned(),
        ] {
            assert_eq!(next(&link).as_deref(), Some(page), "{link}");
        }
        for link in [
            "",
            "next",
            "<",
            "<https://x.example/dsp/net/x",
            "<https://x.example/dsp/net/x>",
            "<https://x.example/dsp/net/x>; rel=\"previous\"",
            "<https://x.example/dsp/net/x>; title=\"rel=next\"",
            "<https://y.example/dsp/net/x>; rel=\"next\"",
            "<http://x.example/dsp/net/x>; rel=\"next\"",
            "<https://x.example/dsp/network>; rel=\"next\"",
            "<https://x.example/dsp/net/../other>; rel=\"next\"",
            "<https://u:p@x.example/dsp/net/x>; rel=\"next\"",
            "<//y.example/dsp/net>; rel=\"next\"",
        ] {
            assert_eq!(next(link), None, "{link}");
        }
    }

    proptest! {
        #![proptest_config(cellspace_schemas::testkit::proptest_config())]

        /// Whatever an answer's header has, it ends, and leads nowhere else.
        #[test]
        fn no_header_leads_elsewhere(link in "[ -~]{0,80}", parts in prop::collection::vec("[<>;,=\"/.: a-z?]{0,12}|rel=\"next\"|https://|x.example", 0..24)) {
            for link in [link, parts.concat()] {
                if let Some(url) = next(&link) {
                    prop_assert!(url.starts_with("https://x.example/dsp/net"), "{}", url);
                }
            }
        }
    }
}
