//! What holds for any text: no panic, one canonical form, and nothing private by another spelling.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use network::{Access, Host, Rules, Target, line};
use proptest::prelude::*;

fn anything() -> Rules {
    Rules::parse(&["*"], &[], Access::Allow).unwrap()
}

/// Every way to write an IPv4 address that some resolver or browser takes.
fn spellings(v4: Ipv4Addr) -> Vec<String> {
    let [a, b, c, d] = v4.octets();
    let whole = u32::from(v4);
    let tail = u32::from(u16::from_be_bytes([c, d]));
    vec![
        v4.to_string(),
        format!("{v4}."),
        whole.to_string(),
        format!("{whole:#x}"),
        format!("0{whole:o}"),
        format!("{a:#x}.{b:#x}.{c:#x}.{d:#x}"),
        format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
        format!("{a}.{b}.{tail}"),
        format!("{a}.{}", whole & 0xff_ffff),
        format!("{a}\u{3002}{b}\u{ff0e}{c}\u{ff61}{d}"),
        v4.to_string().bytes().map(|byte| format!("%{byte:02x}")).collect(),
        format!("[::ffff:{v4}]"),
        format!("[0:0:0:0:0:FFFF:{:x}:{tail:x}]", whole >> 16),
    ]
}

proptest! {
    #[test]
    fn any_text_is_judged(text in "\\PC{0,60}", other in any::<String>()) {
        for text in [text, other] {
            anything().check_text(&text, &[]);
            let _ = network::Rule::parse(&text);
            line::answer(&text, 1);
            if let Ok(host) = Host::parse(&text) {
                prop_assert_eq!(Host::parse(&host.to_string()), Ok(host));
            }
        }
    }

    #[test]
    fn an_address_is_the_same_however_it_is_written(bits in any::<u32>(), port in 1..=u16::MAX) {
        let v4 = Ipv4Addr::from(bits);
        for spelt in spellings(v4) {
            let target = Target { host: Host::from(IpAddr::V4(v4)), port: Some(port) };
            prop_assert_eq!(Target::parse(&format!("http://{spelt}:{port}/")), Ok(target), "{}", spelt);
        }
    }

    #[test]
    fn nothing_private_gets_through_a_star(
        block in prop::sample::select(vec![(10, 8), (127, 8), (0xa9fe, 16), (0xc0a8, 16), (0xac1, 12), (0xe, 4)]),
        below in any::<u32>(),
    ) {
        let (base, length): (u32, u32) = block;
        let v4 = Ipv4Addr::from(base << (32 - length) | below >> length);
        for spelt in spellings(v4) {
            let verdict = anything().check_text(&format!("http://{spelt}/"), &[]);
            prop_assert_eq!(verdict.access, Access::Deny, "{}", spelt);
        }
        let verdict = anything().check_text("http://rebind.example/", &[Ipv4Addr::new(8, 8, 8, 8).into(), v4.into()]);
        prop_assert_eq!(verdict.access, Access::Deny);
    }

    #[test]
    fn ipv6_outside_the_assigned_space_is_not_public(bits in any::<u128>()) {
        let v6 = Ipv6Addr::from(bits);
        let verdict = anything().check_text(&format!("[{v6}]"), &[]);
        if bits >> 125 != 1 && v6.to_ipv4_mapped().is_none() && v6.segments()[..6] != [0x64, 0xff9b, 0, 0, 0, 0] {
            prop_assert_eq!(verdict.access, Access::Deny, "{}", v6);
        }
    }

    #[test]
    fn a_denied_host_stays_denied(name in "[a-z]{1,8}(\\.[a-z]{1,8}){1,3}", port in 1..=u16::MAX) {
        let rules = Rules::parse(&["*", &name], &[&format!("**.{name}")], Access::Allow).unwrap();
        for text in [name.clone(), format!("https://{name}:{port}/"), format!("a.b.{}.", name.to_uppercase())] {
            prop_assert_eq!(rules.check_text(&text, &[]).access, Access::Deny, "{}", text);
        }
    }
}
