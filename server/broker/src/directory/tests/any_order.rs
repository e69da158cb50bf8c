//! Everything that may happen, in any order.

use std::collections::BTreeSet;

use heliostat_wire::card::Unreadable;
use proptest::prelude::*;

use super::*;

/// Anything that may happen, with small numbers so that things meet.
#[derive(Debug, Clone)]
enum Op {
    Online(u8, u8),
    Down(u8),
    Insert(u8, u32, u8),
    Unreadable(u8),
    Remove(u8, u32),
    Retry(u8, u32),
    LinkEnded(u8, u8, u8),
    Ready(u8, u8),
    AttachedSays(u8, u8),
    Detached(u8, u8, u8),
    Ending(u8),
    Gone(u8, u8),
    Revoke(u8),
    Add(u8),
    End(u8),
    Tick(u16),
}

fn op() -> impl Strategy<Value = Op> {
    use Op::*;
    prop_oneof![
        2 => (0..3u8, 0..3u8).prop_map(|(t, boot)| Online(t, boot)),
        1 => (0..4u8).prop_map(Down),
        6 => (0..4u8, 0..4u32, 0..4u8).prop_map(|(l, seq, card)| Insert(l, seq, card)),
        1 => (0..4u8).prop_map(Unreadable),
        2 => (0..4u8, 0..4u32).prop_map(|(l, seq)| Remove(l, seq)),
        2 => (0..4u8, 0..4u32).prop_map(|(l, seq)| Retry(l, seq)),
        3 => (0..4u8, 0..4u8, 0..3u8).prop_map(|(l, attach, why)| LinkEnded(l, attach, why)),
        4 => (0..3u8, 0..4u8).prop_map(|(s, attach)| Ready(s, attach)),
        2 => (0..3u8, 0..4u8).prop_map(|(s, attach)| AttachedSays(s, attach)),
        2 => (0..3u8, 0..4u8, 0..3u8).prop_map(|(s, attach, why)| Detached(s, attach, why)),
        1 => (0..3u8).prop_map(Ending),
        1 => (0..3u8, 0..3u8).prop_map(|(s, how)| Gone(s, how)),
        1 => (0..4u8).prop_map(Revoke),
        1 => (0..4u8).prop_map(Add),
        1 => (0..3u8).prop_map(End),
        1 => (0..30_000u16).prop_map(Tick),
    ]
}

const CARDS: [&str; 4] = ["c-alice", "c-alice-2", "c-bob", "c-new"];

fn reason(n: u8) -> DetachReason {
    match n {
        0 => DetachReason::LinkLost,
        1 => DetachReason::SessionEnded,
        _ => DetachReason::MovedElsewhere {
            terminal: "x".into(),
        },
    }
}

/// What a broker's surroundings remember of one run.
#[derive(Default)]
struct Seen {
    links: Vec<LinkId>,
    sessions: Vec<SessionId>,
    attaches: Vec<AttachId>,
    /// By session: the terminal link that was last offered it.
    holder: BTreeMap<SessionId, LinkId>,
}

impl Seen {
    fn link(&self, n: u8) -> LinkId {
        let from_newest = self.links.len().checked_sub(1 + usize::from(n));
        from_newest.map_or(LinkId(9999), |n| self.links[n])
    }

    fn session(&self, n: u8) -> SessionId {
        let from_newest = self.sessions.len().checked_sub(1 + usize::from(n));
        from_newest.map_or(SessionId([255; 16]), |n| self.sessions[n])
    }

    fn attach(&self, n: u8) -> AttachId {
        let from_newest = self.attaches.len().checked_sub(1 + usize::from(n));
        from_newest.map_or(AttachId(9999), |n| self.attaches[n])
    }

    fn note(&mut self, actions: &[Action]) {
        let mut newer = BTreeSet::new();
        for action in actions {
            match action {
                Action::Start(start) => self.sessions.push(start.session),
                Action::Offer(offer) => {
                    assert!(
                        self.attaches.iter().all(|old| *old < offer.attach),
                        "an attach id was used twice"
                    );
                    assert!(
                        newer.insert(offer.session),
                        "two offers of one session at once"
                    );
                    self.attaches.push(offer.attach);
                    self.holder.insert(offer.session, offer.link);
                }
                _ => {}
            }
        }
    }
}

fn perform(site: &mut Site, seen: &mut Seen, op: Op) -> Vec<Action> {
    match op {
        Op::Online(terminal, boot) => {
            let (link, actions) = site.online(["a", "b", "c"][usize::from(terminal)], boot);
            seen.links.push(link);
            actions
        }
        Op::Down(link) => site.event(Event::LinkDown {
            link: seen.link(link),
        }),
        Op::Insert(link, seq, card) => site.insert(seen.link(link), seq, CARDS[usize::from(card)]),
        Op::Unreadable(link) => {
            let message = ToBroker::CardUnreadable {
                seq: 1,
                reader: "r".into(),
                why: Unreadable::Mute,
            };
            site.says(seen.link(link), message)
        }
        Op::Remove(link, seq) => site.says(seen.link(link), ToBroker::CardRemoved { seq }),
        Op::Retry(link, seq) => site.says(seen.link(link), ToBroker::Retry { seq }),
        Op::LinkEnded(link, attach, why) => site.says(
            seen.link(link),
            link_ended(seen.attach(attach), reason(why)),
        ),
        Op::Ready(session, attach) => {
            let attached = (attach > 0).then(|| seen.attach(attach - 1));
            site.ready(seen.session(session), attached)
        }
        Op::AttachedSays(session, attach) => {
            site.attached_says(seen.session(session), seen.attach(attach))
        }
        Op::Detached(session, attach, why) => site.event(Event::Session {
            session: seen.session(session),
            message: FromSession::Detached {
                attach_id: seen.attach(attach),
                reason: reason(why),
            },
        }),
        Op::Ending(session) => site.event(Event::Session {
            session: seen.session(session),
            message: FromSession::Ending {
                reason: DetachReason::SessionEnded,
            },
        }),
        Op::Gone(session, how) => {
            let how = match how {
                0 => Gone::Exited,
                1 => Gone::Died("x".to_owned()),
                _ => Gone::NoAccount("x".to_owned()),
            };
            site.gone(seen.session(session), how)
        }
        Op::Revoke(card) => {
            let now = site.now();
            let changed = site.directory.revoke_card(now, CARDS[usize::from(card)]);
            changed.map(|(_, actions)| actions).unwrap_or_default()
        }
        Op::Add(card) => {
            let now = site.now();
            let person = ["alice", "alice", "bob", "carol"][usize::from(card)];
            let card = CARDS[usize::from(card)];
            let changed =
                site.directory
                    .add_card(now, card, person, "", Standing::Good, Keys::default());
            changed.map(|(_, actions)| actions).unwrap_or_default()
        }
        Op::End(session) => {
            let now = site.now();
            let id = seen.session(session).to_string();
            let changed = site.directory.end_session(now, &id);
            changed.map(|(_, actions)| actions).unwrap_or_default()
        }
        Op::Tick(ms) => {
            site.ms += u64::from(ms);
            let actions = site.event(Event::Tick);
            let next = site.directory.next_deadline();
            assert!(
                next.is_none_or(|next| next > site.ms),
                "a deadline passes twice"
            );
            actions
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// The invariants are in [`Directory::check`]; beside them, no attach id comes twice, and a
    /// terminal that loses a session to another is told in the same breath.
    #[test]
    fn whatever_happens_the_directory_agrees_with_itself(
        ops in proptest::collection::vec(op(), 1..120)
    ) {
        let mut site = Site::new();
        let mut seen = Seen::default();
        for op in ops {
            let before = holders(&site.directory);
            let actions = perform(&mut site, &mut seen, op);
            site.directory.check();
            for (session, holder) in holders(&site.directory) {
                let Some(old) = before.get(&session) else { continue };
                if old.terminal == holder.terminal {
                    continue;
                }
                let online = site.directory.terminals[&old.terminal].online;
                if let Some(online) = online {
                    let told = detach(&actions).expect("the older terminal is told");
                    prop_assert_eq!((told.0, told.1), (online.link, old.attach));
                }
            }
            seen.note(&actions);
        }
    }

    /// From any state, a person who pulls the card and inserts it again gets an answer at once.
    #[test]
    fn a_new_card_edge_is_always_answered(ops in proptest::collection::vec(op(), 1..60)) {
        let mut site = Site::new();
        let mut seen = Seen::default();
        for op in ops {
            let actions = perform(&mut site, &mut seen, op);
            seen.note(&actions);
        }
        // A terminal that has booted anew comes in once its former link is found dead.
        let former = site.directory.terminals.get("a").and_then(|terminal| terminal.online);
        if let Some(former) = former {
            site.event(Event::LinkDown { link: former.link });
        }
        let (link, _) = site.online("a", 7);
        let actions = site.insert(link, 77, "c-alice");
        let answered = offer_of(&actions).is_some_and(|offer| offer.link == link)
            || said(&actions).iter().any(|(to, _)| *to == link);
        prop_assert!(answered, "{:?}", actions);
    }
}

fn holders(directory: &Directory) -> BTreeMap<SessionId, Holder> {
    let sessions = directory.sessions.iter();
    let held = sessions.filter_map(|(id, session)| Some((*id, session.holder.clone()?)));
    held.collect()
}
