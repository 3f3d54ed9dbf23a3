//! Which targets may be called: neither a literal address nor a name may lead into the installation's own networks.

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use url::{Host, Url};

/// Whether the URL may be called: `https` to a public host, or anything over `http` and `https` when private targets are allowed.
/// Names are filtered once more when they are resolved ([`PublicAddresses`]).
#[must_use]
pub fn is_allowed(url: &Url, allow_private: bool) -> bool {
    match (url.scheme(), url.host()) {
        ("http" | "https", Some(_)) if allow_private => true,
        ("https", Some(Host::Ipv4(ip))) => is_public(ip.into()),
        ("https", Some(Host::Ipv6(ip))) => is_public(ip.into()),
        ("https", Some(Host::Domain(name))) => name != "localhost" && !name.ends_with(".localhost"),
        (_, Some(_) | None) => false,
    }
}

/// Whether the address is one of the public internet (IANA special-purpose address registries, IPv4 and IPv6).
#[must_use]
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let benchmarking = a == 198 && (b == 18 || b == 19);
    let protocol_assignments = a == 192 && b == 0 && c == 0;
    let reserved = a >= 240;
    !(a == 0
        || shared
        || benchmarking
        || protocol_assignments
        || reserved
        || ip.is_loopback()
        || ip.is_private()
        || ip.is_link_local()
        || ip.is_multicast()
        || ip.is_documentation())
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let segments = ip.segments();
    // An IPv4 address in disguise (mapped, NAT64 or 6to4) is judged as what it leads to.
    let embedded = match segments {
        [0, 0, 0, 0, 0, 0xffff, _, _] | [0x64, 0xff9b, 0, 0, 0, 0, _, _] => ip.octets().last_chunk::<4>().copied(),
        [0x2002, high, low, ..] => {
            let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
            Some([a, b, c, d])
        }
        _ => None,
    };
    if let Some(octets) = embedded {
        return is_public_v4(octets.into());
    }
    // Global unicast is 2000::/3; of it, 2001:db8::/32 is documentation and 2001::/23 protocol assignments.
    let global = segments[0] & 0xe000 == 0x2000;
    let documentation = segments[0] == 0x2001 && segments[1] == 0x0db8;
    let protocol_assignments = segments[0] == 0x2001 && segments[1] < 0x0200;
    global && !documentation && !protocol_assignments
}

/// Resolves names to public addresses only, so that a name cannot stand for an address that would be refused.
#[derive(Debug, Clone, Copy, Default)]
pub struct PublicAddresses;

impl Resolve for PublicAddresses {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            // Port 0: the connector puts in the URL's own.
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err("the name has no public address".into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_addresses_are_not_public() {
        for text in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "2002:0a00:0001::",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "100::1",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
        for text in [
            "1.1.1.1",
            "100.63.0.1",
            "100.128.0.1",
            "172.32.0.1",
            "198.20.0.1",
            "192.0.1.1",
            "2606:4700::1111",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
        ] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn targets() {
        for (url, public, private) in [
            ("https://example.com/a", true, true),
            ("http://example.com/a", false, true),
            ("https://localhost/a", false, true),
            ("https://a.localhost/a", false, true),
            ("https://127.0.0.1/a", false, true),
            ("https://2130706433/", false, true),
            ("https://0x7f.1/", false, true),
            ("https://[::1]/a", false, true),
            ("https://[2606:4700::1111]/", true, true),
            ("ftp://example.com/a", false, false),
            ("file:///etc/passwd", false, false),
            ("unix:/run/x", false, false),
        ] {
            let parsed = Url::parse(url).unwrap();
            assert_eq!((is_allowed(&parsed, false), is_allowed(&parsed, true)), (public, private), "{url}");
        }
    }

    #[tokio::test]
    async fn a_name_of_a_private_address_is_not_resolved() {
        assert!(PublicAddresses.resolve("localhost".parse().unwrap()).await.is_err());
    }
}
