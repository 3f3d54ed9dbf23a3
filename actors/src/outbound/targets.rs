//! Which targets may be called: neither a literal address nor a name may lead into the installation's own networks.

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use url::{Host, Url};

/// Whether the URL may be called: `https` to a public host, or anything over `http` and `https` when private targets are allowed. None with a
/// user or password: nobody sends credentials of ours by writing them into a URL.
/// Names are filtered once more when they are resolved ([`PublicAddresses`]).
#[must_use]
pub fn is_allowed(url: &Url, allow_private: bool) -> bool {
    if !url.username().is_empty() || url.password().is_some() {
        return false;
    }
    match (url.scheme(), url.host()) {
        ("http" | "https", Some(_)) if allow_private => true,
        ("https", Some(Host::Ipv4(ip))) => is_public(ip.into()),
        ("https", Some(Host::Ipv6(ip))) => is_public(ip.into()),
        ("https", Some(Host::Domain(name))) => !is_local(name),
        (_, Some(_) | None) => false,
    }
}

/// Names that stand for this machine, whatever a resolver says (RFC 6761, 6.3), with or without the dot of the root.
fn is_local(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name == "localhost" || name.ends_with(".localhost")
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
    // Relays of 6to4, which are no more (RFC 7526).
    let relays = a == 192 && b == 88 && c == 99;
    let reserved = a >= 240;
    !(a == 0
        || shared
        || benchmarking
        || protocol_assignments
        || relays
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
    // Global unicast is 2000::/3; of it, 2001:db8::/32 and 3fff::/20 are documentation and 2001::/23 protocol assignments.
    let global = segments[0] & 0xe000 == 0x2000;
    let documentation = segments[0] == 0x2001 && segments[1] == 0x0db8 || segments[0] == 0x3fff && segments[1] < 0x1000;
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
            // this network, private, shared (carrier grade NAT), loopback
            "0.0.0.0",
            "0.255.255.255",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            // link-local, with the address that clouds tell secrets at
            "169.254.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            // multicast, reserved, broadcast
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            // unspecified, loopback, and IPv4 behind ::/96, which nobody routes
            "::",
            "::1",
            "::127.0.0.1",
            "::8.8.8.8",
            // mapped
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:0.0.0.0",
            // translated (RFC 2765), NAT64, NAT64 of a network's own
            "::ffff:0:127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::8.8.8.8",
            // 6to4, Teredo
            "2002:7f00:0001::",
            "2002:0a00:0001::",
            "2002:a9fe:a9fe::1",
            "2002:c0a8:0101:1::1",
            "2001::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            // unique local, link-local, site-local, multicast
            "fc00::1",
            "fd12::1",
            "fdff:ffff::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "ff0e::1",
            // benchmarking, ORCHID, documentation, discard, segment routing
            "2001:2::1",
            "2001:20::1",
            "2001:db8::1",
            "3fff::1",
            "3fff:fff::1",
            "100::1",
            "5f00::1",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
        for text in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.0.1",
            "100.128.0.1",
            "126.255.255.255",
            "128.0.0.1",
            "169.253.255.255",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "192.88.98.1",
            "192.167.1.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00::1",
            "3fff:1000::1",
            "2001:200::1",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
            "2002:0808:0808::1",
        ] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn targets() {
        for (url, public, private) in [
            ("https://example.com/a", true, true),
            ("https://example.com:8443/a", true, true),
            ("https://example.com./a", true, true),
            ("http://example.com/a", false, true),
            ("http://example.com:443/a", false, true),
            // names of this machine
            ("https://localhost/a", false, true),
            ("https://LocalHost/a", false, true),
            ("https://localhost./a", false, true),
            ("https://a.localhost/a", false, true),
            ("https://a.localhost./a", false, true),
            ("https://%6cocalhost/a", false, true),
            ("https://\u{ff4c}ocalhost/a", false, true),
            ("https://notlocalhost/a", true, true),
            // spellings of addresses: decimal, hexadecimal, octal, short, with full-width digits, with the dot of the root
            ("https://127.0.0.1/a", false, true),
            ("https://127.0.0.1./a", false, true),
            ("https://2130706433/", false, true),
            ("https://0x7f000001/", false, true),
            ("https://0x7f.1/", false, true),
            ("https://0177.0.0.1/", false, true),
            ("https://127.1/", false, true),
            ("https://0/", false, true),
            ("https://\u{ff11}27.0.0.1/", false, true),
            ("https://0xa9fea9fe/latest/meta-data", false, true),
            ("https://0x01010101/", true, true),
            ("https://[::1]/a", false, true),
            ("https://[0:0:0:0:0:0:0:1]/a", false, true),
            ("https://[::ffff:127.0.0.1]/a", false, true),
            ("https://[::ffff:7f00:1]/a", false, true),
            ("https://[64:ff9b::7f00:1]/a", false, true),
            ("https://[fe80::1]/a", false, true),
            ("https://[2606:4700::1111]/", true, true),
            // Whoever is named before the host is sent as credentials.
            ("https://u@example.com/", false, false),
            ("https://u:p@example.com/", false, false),
            ("https://:p@example.com/", false, false),
            ("https://example.com@127.0.0.1/", false, false),
            ("http://u@localhost/", false, false),
            // other schemes
            ("ftp://example.com/a", false, false),
            ("ws://example.com/a", false, false),
            ("file:///etc/passwd", false, false),
            ("file://example.com/etc/passwd", false, false),
            ("unix:/run/x", false, false),
            ("data:,x", false, false),
            ("gopher://example.com:25/x", false, false),
            ("did:web:example.com", false, false),
        ] {
            let parsed = Url::parse(url).unwrap();
            assert_eq!((is_allowed(&parsed, false), is_allowed(&parsed, true)), (public, private), "{url}");
        }
        // What names an interface, or is no address, is no URL.
        for url in ["https://[fe80::1%25eth0]/", "https://256.0.0.1/", "https://1.2.3.4.5/", "https://127.0.0.1%00.example.com/"] {
            assert!(Url::parse(url).is_err(), "{url}");
        }
    }

    #[tokio::test]
    async fn a_name_of_a_private_address_is_not_resolved() {
        for name in ["localhost", "127.0.0.1", "::1"] {
            assert!(PublicAddresses.resolve(name.parse().unwrap()).await.is_err(), "{name}");
        }
    }
}
