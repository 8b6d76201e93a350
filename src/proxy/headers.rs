//! The heads that go on: fields that are kept, and fields that are ours. Public for the bench and the
//! fuzz targets of the codec alone.

mod answer;
mod forwarding;
mod marks;
mod request;

pub use self::answer::{AnswerForm, write_answer};
pub use self::forwarding::Forwarding;
pub(crate) use self::marks::AnswerMarks;
pub use self::marks::RequestMarks;
pub use self::request::{Added, Wishes, write_request};
pub(crate) use self::request::{hops_left, is_offered, stripped};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::config::TrustedProxies;
    use crate::cluster::hop::Hop;
    use crate::cluster::node::ForwardFields;
    use crate::http1::{RequestHead, Slots, parse_request, parse_response};

    fn request_from(ip: &str, trusted: bool, text: &str) -> String {
        let mut slots = Slots::new();
        let head = parse_request(text.as_bytes(), 0, &mut slots).expect("valid").expect("whole");
        let forwarding = Forwarding::new(ip.parse().expect("an address"), trusted);
        let hop = Hop::new("front");
        let usual = Added::usual(&forwarding, &hop, 0x0123_4567_89ab);
        written(&head, Added { offers_switch: head.upgrade.is_some(), ..usual })
    }

    fn written(head: &RequestHead<'_>, added: Added<'_>) -> String {
        let mut out = Vec::new();
        write_request(head, &added, &mut out);
        String::from_utf8(out).expect("the inputs are text")
    }

    fn request(text: &str) -> String {
        request_from("10.0.0.9", false, text)
    }

    fn answer(text: &str, form: AnswerForm<'_>) -> String {
        let mut slots = Slots::new();
        let head = parse_response(text.as_bytes(), 0, &mut slots, false);
        let head = head.expect("valid").expect("whole");
        let mut out = Vec::new();
        write_answer(&head, form, &mut out);
        String::from_utf8(out).expect("the inputs are text")
    }

    #[test]
    fn end_to_end_fields_keep_their_order_and_hop_by_hop_ones_go() {
        let got = request(
            "GET /a HTTP/1.1\r\nA: 1\r\nHost: pi\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\n\
             Cookie: a=b\r\nTE: trailers\r\nA: 2\r\n\r\n",
        );
        let expected = "GET /a HTTP/1.1\r\nHost: pi\r\nA: 1\r\nCookie: a=b\r\nA: 2\r\nConnection: TE\r\n\
             TE: trailers\r\nX-Forwarded-For: 10.0.0.9\r\nX-Forwarded-Proto: http\r\n\
             Forwarded: for=10.0.0.9;proto=http;host=\"pi\";by=_pc0_front\r\n\
             X-Forwarded-Host: pi\r\nX-Request-Id: 000000000000000000000123456789ab\r\n\r\n";
        assert_eq!(got, expected);
    }

    #[test]
    fn the_forwarding_fields_of_a_client_are_replaced() {
        let got = request(
            "GET / HTTP/1.1\r\nHost: pi\r\nX-Forwarded-For: 1.2.3.4\r\nFORWARDED: for=x\r\n\
             x-forwarded-host: evil\r\nX_Forwarded_For: 9\r\nx_picluster_node: 9\r\n\
             X-Real-Ip: 1.2.3.4\r\nx-forwarded-port: evil\r\nx-request-id: evil\r\nX_Real-IP: 9\r\n\
             Transfer_Encoding: chunked\r\nContent_Length: 9\r\nX-Picluster-Node: me\r\nVia: 1.1 other\r\n\r\n",
        );
        assert!(!got.contains("1.2.3.4") && !got.contains("for=x"), "{got}");
        assert!(!got.contains("evil") && !got.to_lowercase().contains("x-picluster"), "{got}");
        assert!(!got.replace("_pc0_front", "").contains('_'), "{got}");
        assert!(!got.contains("Via"), "{got}");
    }

    #[test]
    fn the_forwarding_fields_of_a_trusted_proxy_are_kept_and_continued() {
        let got = request_from(
            "fd00::9",
            true,
            "GET / HTTP/1.1\r\nHost: pi:80\r\nX-Forwarded-For: 1.2.3.4\r\nA: 1\r\n\
             x-forwarded-for: 5.6.7.8, 9.9.9.9\r\nForwarded: for=1.2.3.4\r\nX-Forwarded-Proto: https\r\n\
             X-Request-Id: theirs\r\nX-Real-IP: 1.2.3.4\r\nX-Picluster-Node: me\r\n\
             X_Forwarded_For: 9\r\nConnection: x-forwarded-for\r\n\r\n",
        );
        let expected = "GET / HTTP/1.1\r\nHost: pi:80\r\nA: 1\r\nX-Forwarded-Proto: https\r\n\
             X-Request-Id: theirs\r\nX-Real-IP: 1.2.3.4\r\n\
             X-Forwarded-For: 1.2.3.4, 5.6.7.8, 9.9.9.9, fd00::9\r\n\
             Forwarded: for=1.2.3.4, for=\"[fd00::9]\";proto=http;host=\"pi:80\";by=_pc0_front\r\n\
             X-Forwarded-Host: pi:80\r\n\r\n";
        assert_eq!(got, expected);
    }

    #[test]
    fn a_field_that_ends_within_quotes_does_not_take_our_entry_into_them() {
        let forwarded = |came: &str| {
            let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{came}\r\n");
            let got = request_from("10.0.0.9", true, &text);
            let line = got.lines().find_map(|line| line.strip_prefix("Forwarded: "));
            line.expect("it is always sent").to_owned()
        };
        let ours = "for=10.0.0.9;proto=http;host=\"a\";by=_pc0_front";
        assert_eq!(forwarded("Forwarded: for=\"1.1.1.1\r\n"), ours);
        assert_eq!(forwarded("Forwarded: for=\"1.1.1.1\\\"\r\n"), ours);
        let good = "for=\"[::1]\";x=\"\\\"\"";
        assert_eq!(forwarded(&format!("Forwarded: {good}\r\n")), format!("{good}, {ours}"));
    }

    #[test]
    fn a_hop_is_counted_down_only_where_it_is_asked_for() {
        let sent = |method: &str, hops: &str| {
            let text = format!("{method} / HTTP/1.1\r\nHost: a\r\nMax-Forwards: {hops}\r\n\r\n");
            let got = request(&text);
            let line = got.lines().find_map(|line| line.strip_prefix("Max-Forwards: "));
            line.expect("it goes on").to_owned()
        };
        assert_eq!((sent("OPTIONS", "5"), sent("TRACE", "1")), ("4".into(), "0".into()));
        assert_eq!((sent("GET", "5"), sent("OPTIONS", "x")), ("5".into(), "x".into()));
        assert_eq!(sent("TRACE", "99999999999999999999"), "99999999999999999999");
    }

    #[test]
    fn the_client_is_the_last_address_that_no_trusted_proxy_has() {
        let proxies = TrustedProxies {
            networks: vec!["10.0.0.0/8".parse().unwrap()],
            ..TrustedProxies::default()
        };
        for (fields, trusted, client) in [
            ("X-Forwarded-For: 1.2.3.4\r\n", true, Some("1.2.3.4")),
            ("X-Forwarded-For: 9.9.9.9, 1.2.3.4, 10.0.0.7\r\n", true, Some("1.2.3.4")),
            ("X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-For: 1.2.3.4:80\r\n", true, Some("1.2.3.4")),
            ("X-Forwarded-For: [2001:db8::7]:80\r\n", true, Some("2001:db8::7")),
            ("X-Forwarded-For: 1.2.3.4, unknown\r\n", true, None),
            ("X-Forwarded-For: 10.0.0.7\r\n", true, None),
            ("X-Forwarded-For: \r\n", true, None),
            ("", true, None),
            ("X-Forwarded-For: 1.2.3.4\r\n", false, None),
        ] {
            let text = format!("GET / HTTP/1.1\r\nHost: pi\r\n{fields}\r\n");
            let mut slots = Slots::new();
            let head = parse_request(text.as_bytes(), 0, &mut slots).unwrap().unwrap();
            let forwarding = Forwarding::new([10, 0, 0, 1].into(), trusted);
            let expected = client.map(|client: &str| client.parse().unwrap());
            assert_eq!(forwarding.named_client(&head, &proxies), expected, "{fields}");
        }
    }

    #[test]
    fn a_trusted_proxy_that_says_nothing_is_named_like_a_client() {
        let text = "GET / HTTP/1.1\r\nHost: pi\r\nForwarded: \r\n\r\n";
        assert_eq!(
            request_from("10.0.0.9", true, text),
            request("GET / HTTP/1.1\r\nHost: pi\r\n\r\n")
        );
    }

    #[test]
    fn an_http_1_0_request_goes_on_as_1_1_and_says_so_in_via() {
        let mut slots = Slots::new();
        let head = parse_request(b"GET / HTTP/1.0\r\n\r\n", 0, &mut slots).unwrap().unwrap();
        let (forwarding, hop) = (Forwarding::new([10, 0, 0, 9].into(), false), Hop::new("front"));
        let usual = Added { via: "front", sends_via: true, ..Added::usual(&forwarding, &hop, 1) };
        for (node, host) in [("10.0.0.5:80", "10.0.0.5:80"), ("[fe80::1%3]:8080", "[fe80::1]:8080")]
        {
            let got = written(&head, Added { node: node.parse().ok().as_ref(), ..usual });
            assert!(got.starts_with(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n")), "{got}");
            assert!(got.contains("Via: 1.0 front\r\n"), "{got}");
            assert!(!got.contains("X-Forwarded-Host"), "the client named no host: {got}");
        }
    }

    #[test]
    fn a_node_gets_the_forwarding_fields_that_it_asks_for_and_no_others() {
        let text = "GET /a HTTP/1.1\r\nHost: pi\r\nVia: 1.1 x\r\nX-Forwarded-For: 1.2.3.4\r\n\
            X-Forwarded-Proto: https\r\nForwarded: for=1.2.3.4\r\nX-Request-Id: x\r\nTE: trailers\r\n\
            X-Real-IP: 1.2.3.4\r\nX-Picluster-Hop: 00000001\r\n\r\n";
        let mut slots = Slots::new();
        let head = parse_request(text.as_bytes(), 0, &mut slots).unwrap().unwrap();
        let hop = Hop::new("front");
        let (mut short, line) = (Vec::new(), "GET /a HTTP/1.1\r\nHost: pi\r\n");
        hop.append_short(2, &mut short);
        let hop_line = format!("X-Picluster-Hop: {}\r\n", str::from_utf8(&short).unwrap());
        for (fields, trusted, expected) in [
            (ForwardFields::For, false, format!("X-Forwarded-For: 10.0.0.9\r\n{hop_line}")),
            (ForwardFields::For, true, format!("X-Forwarded-For: 1.2.3.4, 10.0.0.9\r\n{hop_line}")),
            (ForwardFields::None, false, String::new()),
            (ForwardFields::None, true, String::new()),
        ] {
            let forwarding = Forwarding::new([10, 0, 0, 9].into(), trusted);
            let wishes = Wishes { fields, trailers: false };
            let usual = Added::usual(&forwarding, &hop, 1);
            let got = written(&head, Added { wishes, via: "front", sends_via: true, ..usual });
            assert_eq!(got, format!("{line}{expected}\r\n"), "{fields:?} {trusted}");
        }
    }

    #[test]
    fn a_websocket_offer_goes_on_and_h2c_does_not() {
        let offer = |what: &str| {
            let text = format!(
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: {what}\r\n\r\n"
            );
            request(&text).contains(&format!("Connection: upgrade\r\nUpgrade: {what}\r\n"))
        };
        assert!(offer("websocket"));
        assert!(!offer("h2c"));
    }

    #[test]
    fn the_node_header_is_set_not_appended() {
        let text = "HTTP/1.1 200 OK\r\nx-picluster-node: forged\r\nContent-Length: 0\r\n\r\n";
        let form = AnswerForm { close: false, http10: false, node: Some("ada"), sticks_to: None };
        let expected = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Picluster-Node: ada\r\n\r\n";
        assert_eq!(answer(text, form), expected);
        let off = AnswerForm { node: None, ..form };
        assert_eq!(answer(text, off), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    }

    #[test]
    fn a_client_of_1_0_gets_no_chunks_and_learns_if_its_connection_is_kept() {
        let text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let form = AnswerForm { close: true, http10: true, node: None, sticks_to: None };
        assert_eq!(answer(text, form), "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
        let kept = AnswerForm { close: false, ..form };
        let got = answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", kept);
        assert!(got.ends_with("\r\nConnection: keep-alive\r\n\r\n"));
    }

    #[test]
    fn an_answer_that_names_protocols_says_close_too_and_a_101_does_not() {
        let form = AnswerForm { close: true, http10: false, node: None, sticks_to: None };
        let fields = "Connection: upgrade\r\nUpgrade: a\r\n";
        let got = answer(&format!("HTTP/1.1 426 \r\n{fields}Content-Length: 0\r\n\r\n"), form);
        assert!(got.ends_with(&format!("\r\n{fields}Connection: close\r\n\r\n")), "{got}");
        let got = answer(&format!("HTTP/1.1 101 \r\n{fields}\r\n"), form);
        assert_eq!(got, format!("HTTP/1.1 101 \r\n{fields}\r\n"));
    }
}
