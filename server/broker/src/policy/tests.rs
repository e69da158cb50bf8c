//! What policies decide, as tables.

use super::*;

const CLINIC: &str = r#"
[default]
proof = "card+pin"
grace = "15min"
enrol = "offer"

[place]
ward = ["ward-*", "52:54:00:12:*"]
lobby = "lobby-1"

[[rule]]
name = "nurses tap in on the ward"
when = { group = "nurses", place = "ward" }
proof = "card"
grace = "8h"

[[rule]]
when = { person = ["guest", "guest-*"] }
proof = "password"
detached = "1h"
usb = false

[[rule]]
name = "the lobby shows the map"
when = { place = "lobby" }
kiosk = ["/usr/bin/map", "--full-screen"]

[[rule]]
when = { card = "uid:*", place = "ward" }
keyless = true
"#;

fn clinic() -> Policy {
    Policy::parse("policy.toml", CLINIC).unwrap()
}

fn problem(text: &str) -> String {
    Policy::parse("policy.toml", text).unwrap_err().to_string()
}

#[test]
fn the_last_rule_that_holds_wins_key_by_key() {
    let nurses = ["users".to_owned(), "nurses".to_owned()];
    let none: [String; 0] = [];
    let table: &[(&str, &[String], &str, Proof, &str)] = &[
        ("nina", &nurses, "ward-3", Proof::Card, "8h"),
        ("nina", &nurses, "office-1", Proof::CardPin, "15min"),
        ("otto", &none, "ward-3", Proof::CardPin, "15min"),
        ("guest-7", &none, "ward-3", Proof::Password, "15min"),
        // A guest who is a nurse: the guests' rule comes later, and says nothing of the grace.
        ("guest", &nurses, "ward-3", Proof::Password, "8h"),
    ];
    for (person, groups, terminal_name, proof, grace) in table {
        let outcome = clinic().decide(&Given {
            card: Some("piv:00"),
            person: Some(person),
            groups,
            terminal: "52:54:00:99:00:01",
            terminal_name,
        });
        assert_eq!(outcome.proof, *proof, "{person} at {terminal_name}");
        assert_eq!(
            outcome.grace.to_string(),
            *grace,
            "{person} at {terminal_name}"
        );
    }
}

#[test]
fn terminals_are_named_by_id_or_name_and_places_hold_both() {
    let policy = clinic();
    assert_eq!(policy.places_of("52:54:00:12:00:07", "x"), ["ward"]);
    assert_eq!(policy.places_of("anything", "ward-9"), ["ward"]);
    assert_eq!(policy.places_of("anything", "lobby-1"), ["lobby"]);
    assert!(policy.places_of("52:54:00:99:00:07", "lobby-2").is_empty());
}

#[test]
fn ids_are_the_same_in_large_and_small_letters_and_names_are_not() {
    let text = "place.ward = \"52:54:00:AB:*\"\n\
                [[rule]]\nwhen.card = \"PIV:00AB*\"\nusb = true\n\
                [[rule]]\nwhen.terminal = [\"52:54:00:CD:00:01\", \"Desk\"]\nkeyless = true\n\
                [[rule]]\nwhen.place = \"ward\"\nlogin = false";
    let policy = Policy::parse("p", text).unwrap();
    let at = |card, terminal, terminal_name| {
        let outcome = policy.decide(&Given {
            card: Some(card),
            terminal,
            terminal_name,
            ..Given::default()
        });
        (outcome.usb, outcome.keyless, outcome.login)
    };
    assert_eq!(at("piv:00abcd", "x", "desk"), (true, false, true));
    assert_eq!(at("PIV:00abCD", "x", "Desk"), (true, true, true));
    assert_eq!(at("piv:01", "52:54:00:cd:00:01", ""), (false, true, true));
    assert_eq!(at("piv:01", "52:54:00:Ab:00:01", ""), (false, false, false));
}

#[test]
fn cards_without_a_key_need_a_password_whatever_is_asked_for_and_only_where_allowed() {
    let at = |terminal_name| {
        clinic().decide(&Given {
            card: Some("uid:04010203"),
            terminal_name,
            ..Given::default()
        })
    };
    assert_eq!(
        at("ward-1").needs(CardKind::ContactlessUid),
        Some(Proof::Password)
    );
    assert_eq!(at("office").needs(CardKind::ContactlessUid), None);
    let none = Policy::parse("p", "default.proof = \"none\"\ndefault.keyless = true").unwrap();
    let outcome = none.decide(&Given::default());
    assert_eq!(outcome.needs(CardKind::AtrSerial), Some(Proof::Password));
    assert_eq!(outcome.needs(CardKind::Piv), Some(Proof::None));
}

#[test]
fn a_rule_about_people_does_not_hold_before_the_person_is_known() {
    let outcome = clinic().decide(&Given {
        terminal_name: "ward-1",
        ..Given::default()
    });
    assert_eq!(outcome.proof, Proof::CardPin);
    assert_eq!(outcome.detached, Timeout(None));
}

#[test]
fn an_empty_file_asks_for_a_cards_proof_and_lets_people_log_in() {
    let policy = Policy::parse("policy.toml", "").unwrap();
    assert_eq!(policy, Policy::default());
    let outcome = policy.decide(&Given::default());
    assert_eq!(
        (
            outcome.proof,
            outcome.login,
            outcome.enrol,
            outcome.keyless,
            outcome.usb
        ),
        (Proof::Card, true, Enrol::No, false, false)
    );
}

#[test]
fn every_value_is_explained_with_its_origin() {
    let outcome = clinic().decide(&Given {
        person: Some("nina"),
        groups: &["nurses".to_owned()],
        terminal_name: "ward-3",
        ..Given::default()
    });
    let explained = outcome.explain();
    let line = |key: &str| {
        let found = explained.iter().find(|e| e.key == key).unwrap();
        format!("{} {}: {}", found.key, found.value, found.origin)
    };
    assert_eq!(
        line("proof"),
        "proof card: rule 1 \"nurses tap in on the ward\" (line 11)"
    );
    assert_eq!(line("enrol"), "enrol offer: [default]");
    assert_eq!(line("memory"), "memory unlimited: built in");
}

#[test]
fn slips_are_refused_with_their_line() {
    let text = problem("[default]\nproof = \"card\"\n\n[[rule]]\nwhen = { persn = \"a\" }\n");
    assert!(
        text.contains("line 5") && text.contains("expected"),
        "{text}"
    );
    let text = problem("[default]\nprof = \"card\"\n");
    assert!(
        text.contains("line 2") && text.contains("`proof`"),
        "{text}"
    );
    let text = problem("[default]\nproof = \"fingerprint\"\n");
    assert!(
        text.contains("line 2") && text.contains("`card+pin`"),
        "{text}"
    );
    let text = problem("[default]\ngrace = \"15 minutes\"\n");
    assert!(
        text.contains("line 2") && text.contains("\"15min\""),
        "{text}"
    );
    let minutes = Policy::parse("p", "default.grace = \"15m\"").unwrap();
    let grace = minutes.decide(&Given::default()).grace;
    assert_eq!(grace.to_string(), "15min");
    let text = problem("[[rule]]\nwhen.place = \"wrad\"\nusb = true\n");
    assert!(
        text.contains("line 1") && text.contains("\"wrad\""),
        "{text}"
    );
    let text = problem("[[rule]]\nwhen.person = []\nusb = true\n");
    assert!(
        text.contains("line 2") && text.contains("not empty"),
        "{text}"
    );
    let text = problem("[default]\nkiosk_user = \"root\"\n");
    assert!(text.contains("root"), "{text}");
    let text = problem("[default]\nmemory = \"1M\"\n");
    assert!(text.contains("64M"), "{text}");
    let text = problem("[default]\non_attach = [\"printer\"]\n");
    assert!(text.contains("absolute"), "{text}");
    let text = problem("[default]\ncpu = 0\n");
    assert!(text.contains("1 to 10000"), "{text}");
}

#[test]
fn a_rule_about_somebody_unknown_is_warned_of_and_patterns_are_not() {
    let text = "[[rule]]\nwhen.group = [\"nurses\", \"nruses\"]\nusb = true\n\
                [[rule]]\nname = \"guests\"\nwhen.person = \"gast\"\nwhen.group = \"g*\"\nusb = true\n\
                [[rule]]\nwhen.person = [\"gast\", \"gast-*\"]\nusb = true";
    let policy = Policy::parse("p", text).unwrap();
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let named = Named {
        people: names(&["gast"]),
        groups: names(&["nurses", "nruses"]),
    };
    assert_eq!(policy.named(), named);
    assert_eq!(policy.strangers(&Named::default()), [""; 0]);
    let unknown = Named {
        people: names(&["gast"]),
        groups: names(&["nruses"]),
    };
    let expected = [
        "rule 1 (line 1): no group \"nruses\" on this machine",
        "rule 2 \"guests\" (line 4): no person \"gast\" on this machine: this rule is about nobody",
        "rule 3 (line 9): no person \"gast\" on this machine",
    ];
    assert_eq!(policy.strangers(&unknown), expected);
}

#[test]
fn a_policy_that_shuts_everybody_out_is_warned_of() {
    let strict = Policy::parse("p", "default.login = false").unwrap();
    let keyless = Somebody {
        person: "otto".to_owned(),
        cards: vec![("atr:3b00".to_owned(), CardKind::AtrSerial)],
        ..Somebody::default()
    };
    let keyed = Somebody {
        person: "nina".to_owned(),
        cards: vec![("piv:00".to_owned(), CardKind::Piv)],
        ..Somebody::default()
    };
    let warnings = strict.warnings(std::slice::from_ref(&keyless), &[]);
    assert!(warnings[0].contains("nobody"), "{warnings:?}");
    let warnings = strict.warnings(&[keyless.clone(), keyed.clone()], &[]);
    assert_eq!(warnings, ["cannot open a desktop at any terminal: otto"]);
    assert!(
        Policy::default()
            .warnings(&[keyless, keyed], &[])
            .is_empty()
    );
    assert!(!strict.warnings(&[], &[]).is_empty());
    let none = Policy::parse("p", "default.proof = \"none\"").unwrap();
    assert!(none.warnings(&[], &[])[0].contains("copies"), "{none:?}");
}

#[test]
fn a_policy_that_shuts_everybody_out_of_this_broker_is_warned_of() {
    let people = [Somebody {
        person: "nina".to_owned(),
        cards: vec![("piv:00".to_owned(), CardKind::Piv)],
        ..Somebody::default()
    }];
    let here = |has_greeter| Here {
        server: "srv1".to_owned(),
        has_greeter,
    };
    let nobody = "nobody who is known can open a desktop anywhere";
    // The policy, whether there is a greeter, whether everybody is shut out, and what else is said.
    let table: &[(&str, bool, bool, &[&str])] = &[
        ("default.server = \"srv1\"", true, false, &[]),
        (
            "default.server = \"srv7\"",
            true,
            true,
            &["[default]: server"],
        ),
        ("default.proof = \"password\"", true, false, &[]),
        (
            "default.proof = \"password\"",
            false,
            true,
            &["[default]: proof = \"password\""],
        ),
        (
            "default.kiosk = [\"/bin/map\"]",
            true,
            true,
            &["[default]: kiosk"],
        ),
        ("default.login = false", true, false, &[]),
        (
            "default.login = false",
            false,
            false,
            &["[default]: login = false"],
        ),
        (
            "[[rule]]\nwhen = { person = \"otto\" }\nserver = \"srv7\"",
            true,
            false,
            &["rule 1 (line 1): server"],
        ),
    ];
    for (text, has_greeter, shut_out, said) in table {
        let policy = Policy::parse("p", text).unwrap().at(here(*has_greeter));
        let warnings = policy.warnings(&people, &[]);
        assert_eq!(
            warnings.iter().any(|one| one == nobody),
            *shut_out,
            "{text}: {warnings:?}"
        );
        let others: Vec<_> = warnings.iter().filter(|one| *one != nobody).collect();
        assert_eq!(others.len(), said.len(), "{text}: {warnings:?}");
        for (other, begins) in others.iter().zip(*said) {
            assert!(other.starts_with(begins), "{other}");
        }
    }
}
